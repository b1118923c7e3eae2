"""The words for findings, chosen when they are shown: what is so, and the fix."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from deployments.presentation.states import StateLook

from .findings import Finding

_Text = str | Promise
TOOLKIT_GUIDE = "https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/install-guide.html"
DOCKER_GUIDE = "https://docs.docker.com/engine/install/"

TITLES: dict[str, _Text] = {
    "database": _("Database"),
    "redis": "Redis",
    "worker": _("Worker"),
    "agent": _("Agent"),
    "web": _("Web"),
    "gateway": _("Gateway"),
    "clock": _("Clock"),
    "docker": "Docker",
    "image_disk": _("Disk for images"),
    "data_disk": _("Disk for data and weights"),
    "driver": _("NVIDIA driver"),
    "toolkit": "nvidia-container-toolkit",
    "gpu_in_container": _("GPU in a container"),
    "hub": _("Model hub"),
}

#: (check, outcome) -> what is so, the fix, a link to a guide.
WORDS: dict[tuple[str, str], tuple[_Text, _Text, str]] = {
    ("database", "ok"): (_("%(vendor)s answers and has the schema of this version."), "", ""),
    ("database", "silent"): (
        _("%(vendor)s does not answer: %(detail)s"),
        _("Check that it runs and that DATABASE_URL is right."),
        "",
    ),
    ("database", "old_schema"): (
        _("Migrations of this version have not been applied."),
        _("Apply them: manage.py migrate, or restart berth up."),
        "",
    ),
    ("redis", "ok"): (_("It answers in %(ms)s ms."), "", ""),
    ("redis", "silent"): (
        _("It does not answer: %(detail)s"),
        _("Check that it runs and that REDIS_URL is right; without REDIS_URL, that berth up runs."),
        "",
    ),
    ("worker", "ok"): (_("It sweeps every few seconds."), "", ""),
    ("worker", "never"): (
        _("It has not swept yet."),
        _("Start it with berth up or docker-compose up -d, and look at its log."),
        "",
    ),
    ("worker", "late"): (_("It has not swept for %(seconds)s s."), _("Look at its log; restart it."), ""),
    ("worker", "unknown"): (_("Redis, through which it reports, is away: %(detail)s"), _("Repair Redis first."), ""),
    ("agent", "ok"): (_("It reports every 2 seconds."), "", ""),
    ("agent", "never"): (
        _("It has not reported yet."),
        _("Start it with berth up or docker-compose up -d, and look at its log."),
        "",
    ),
    ("agent", "late"): (_("It has not reported for %(seconds)s s."), _("Look at its log; restart it."), ""),
    ("agent", "unknown"): (_("Redis, through which it reports, is away: %(detail)s"), _("Repair Redis first."), ""),
    ("web", "ok"): (_("%(url)s can be reached from here."), "", ""),
    ("web", "unreachable"): (
        _("%(url)s cannot be reached from here: %(detail)s"),
        _("Check that it runs, the firewall, and BERTH_PUBLIC_URL."),
        "",
    ),
    ("gateway", "ok"): (_("%(url)s can be reached from here."), "", ""),
    ("gateway", "unreachable"): (
        _("%(url)s cannot be reached from here: %(detail)s"),
        _("Check that it runs, the firewall, and BERTH_GATEWAY_URL."),
        "",
    ),
    ("clock", "ok"): (_("This host, the database and Redis agree."), "", ""),
    ("clock", "differs"): (
        _("The clock of %(other)s differs from this host's by %(seconds)s s."),
        _("Synchronise both with NTP: heartbeats and deadlines compare them."),
        "",
    ),
    ("docker", "ok"): (_("Version %(version)s, storage %(storage)s."), "", ""),
    ("docker", "old"): (
        _("Version %(version)s is older than %(least)s, the oldest that Berth is tested with."),
        _("Update the engine."),
        DOCKER_GUIDE,
    ),
    ("docker", "silent"): (
        _("The engine does not answer: %(detail)s"),
        _("Install and start it, and let the user of worker and agent use its socket. Processes run without it."),
        DOCKER_GUIDE,
    ),
    ("image_disk", "ok"): (_("%(free)s of %(total)s GiB free in %(folder)s."), "", ""),
    ("image_disk", "low"): (
        _("Only %(free)s of %(total)s GiB free in %(folder)s; an image of a model server takes 5 to 25 GiB."),
        _("Remove images that are not used: docker image prune -a."),
        "",
    ),
    ("image_disk", "full"): (
        _("%(free)s of %(total)s GiB free in %(folder)s: no image fits."),
        _("Remove images that are not used: docker image prune -a."),
        "",
    ),
    ("image_disk", "invisible"): (
        _("%(folder)s cannot be seen from this process, so its free space is not known."),
        "",
        "",
    ),
    ("data_disk", "ok"): (_("%(free)s of %(total)s GiB free in %(folder)s."), "", ""),
    ("data_disk", "low"): (
        _("Only %(free)s of %(total)s GiB free in %(folder)s."),
        _("Free space there, or move the folder with BERTH_DATA_DIR."),
        "",
    ),
    ("data_disk", "full"): (
        _("%(free)s of %(total)s GiB free in %(folder)s: logs and weights will not fit."),
        _("Free space there, or move the folder with BERTH_DATA_DIR."),
        "",
    ),
    ("data_disk", "invisible"): (
        _("%(folder)s cannot be seen from this process."),
        _("Check that it exists, and BERTH_DATA_DIR."),
        "",
    ),
    ("driver", "ok"): (_("Version %(version)s, GPUs: %(count)s."), "", ""),
    ("driver", "none"): (
        _("No GPU: %(reason)s"),
        _("Without GPUs only configs that ask for none can run here."),
        "",
    ),
    ("driver", "replay"): (_("A recording is replayed (%(source)s); it says nothing about this host."), "", ""),
    ("driver", "no_reading"): (
        _("The agent has not measured the GPUs in the last seconds."),
        _("See the agent's line above."),
        "",
    ),
    ("toolkit", "ok"): (_("A container of %(image)s was started with all GPUs."), "", ""),
    ("toolkit", "no_image"): (
        _("No image of the catalogue is on this host, so no container with a GPU could be tried."),
        _("Start a config that needs a GPU, or pull its image; then look again."),
        "",
    ),
    ("toolkit", "no_nvidia_runtime"): (
        _("The engine cannot give GPUs to containers: %(detail)s"),
        _("Install nvidia-container-toolkit, run nvidia-ctk runtime configure, and restart Docker."),
        TOOLKIT_GUIDE,
    ),
    ("toolkit", "start_failed"): (
        _("A container with the GPUs was not started: %(detail)s"),
        _("Check the toolkit and the driver."),
        TOOLKIT_GUIDE,
    ),
    ("gpu_in_container", "ok"): (_("GPU %(index)s is seen from within a container."), "", ""),
    ("gpu_in_container", "invisible"): (
        _("GPU %(index)s (%(uuid)s) is not seen from within a container."),
        _("Check the toolkit's configuration and the driver's log (dmesg), then restart Docker."),
        TOOLKIT_GUIDE,
    ),
    ("hub", "ok"): (_("%(url)s answers in %(ms)s ms."), "", ""),
    ("hub", "unreachable"): (
        _("%(url)s cannot be reached: %(detail)s"),
        _("Check network and proxy, or name a mirror with HF_ENDPOINT. Weights that are here already still load."),
        "",
    ),
}


#: Outcomes that every check may have.
ANY_CHECK: dict[str, tuple[_Text, _Text, str]] = {
    "crashed": (_("The check itself failed: %(detail)s"), _("Look at the worker's log."), ""),
    "timeout": (_("No answer within %(seconds)s s."), _("Look whether it hangs."), ""),
}
LOOKS = {
    "ok": ("good", "circle-check"),
    "warning": ("warn", "alert-triangle"),
    "failed": ("bad", "alert-circle"),
    "skipped": ("idle", "circle-minus"),
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A finding in words. ``fix`` and ``link`` are empty where nothing is to be done."""

    state: str
    title: str
    sentence: str
    fix: str
    link: str

    @property
    def look(self) -> StateLook:
        """Its state as a chip: icon and word."""
        tone, icon = LOOKS[self.state]
        return StateLook(key=self.state, tone=tone, icon=icon, word=state_word(self.state))


def line(finding: Finding) -> Line:
    """The words for ``finding`` in the current language."""
    title = str(TITLES.get(finding.check, finding.check))
    sentence, fix, link = ANY_CHECK.get(finding.outcome) or WORDS[finding.check, finding.outcome]
    return Line(
        state=finding.state.value,
        title=title,
        sentence=str(sentence) % finding.params,
        fix=str(fix) if finding.state.value != "ok" else "",
        link=link,
    )


STATE_WORDS: dict[str, _Text] = {
    "ok": _("ok"),
    "warning": _("warning"),
    "failed": _("failed"),
    "skipped": _("not looked at"),
}


def state_word(state: str) -> str:
    """The word beside the icon."""
    return str(STATE_WORDS[state])
