"""Why a key of a service has no counterpart in a config, and what to do instead. The keys are those of the
Compose specification (05-services)."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .proposal import Weight


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Two sentences and how much is lost."""

    why: str | Promise
    instead: str | Promise
    weight: Weight = Weight.LOSS


_NOTHING = _("Nothing.")
_IMAGE = _("Put it into the image, as with a Dockerfile of a delivery.")
_LIMITS = Reason(
    why=_("Berth gives a model whole GPUs and does not bound its processors and memory."),
    instead=_("Nothing, unless the host is shared: then bound it there."),
    weight=Weight.HARMLESS,
)
_NETWORKS = Reason(
    why=_("Berth puts a model on a network of its own and reaches it there."),
    instead=_("Nothing: people and programs ask the gateway."),
    weight=Weight.HARMLESS,
)
_NAMES = Reason(
    why=_("Models reach the network with the host's own settings."),
    instead=_("Set it on the host if the model needs it."),
)
_OTHERS = Reason(
    why=_("A config is one container; other services are not part of it."),
    instead=_("Run the other service beside Berth, and let it ask the gateway."),
)
_MARKS = Reason(
    why=_("Berth labels its containers itself."), instead=_("Put it into the config's notes."), weight=Weight.HARMLESS
)
_TERMINAL = Reason(why=_("A model server has no terminal."), instead=_NOTHING, weight=Weight.HARMLESS)
_BUILD_TIME = Reason(
    why=_("A config runs an image that is there; it builds none."),
    instead=_("Build the image first, as in a delivery, and write its name as the image."),
)
_FILES = Reason(why=_("Its files are not part of what was uploaded."), instead=_IMAGE)
_RIGHTS = Reason(
    why=_("It widens what the container may do on the host, which Berth never does."),
    instead=_("Nothing: model servers run without it. If this one does not, change the image."),
    weight=Weight.DANGEROUS,
)
_USER = Reason(
    why=_("The container runs as the user that the image names."),
    instead=_("Set the user in the image."),
)
_HOST = Reason(
    why=_("It opens the host to the container, which Berth never does."),
    instead=_("Nothing: a model is reached at its port, and processes of the host are none of its business."),
    weight=Weight.DANGEROUS,
)
_TUNING = Reason(
    why=_("Berth leaves these settings of the kernel and the engine as they are."),
    instead=_("Set it on the host if the model needs it."),
)
_HOOKS = Reason(why=_("Berth runs nothing in the container but the model server."), instead=_IMAGE)
_ELSEWHERE = Reason(
    why=_("The file that it names is not part of what was uploaded, so its settings are missing here."),
    instead=_("Write the settings into this file, or paste the output of “docker compose config”."),
)

PRIVILEGED = Reason(
    why=_("Privileged mode makes the container root on the host. Berth never gives it."),
    instead=_("Nothing: GPUs come without it. If the server wants it for something else, change the image."),
    weight=Weight.DANGEROUS,
)
HOST_NETWORK = Reason(
    why=_(
        "The host's network puts the model's port, without a key, on every address of the host. Berth never gives it."
    ),
    instead=_("Nothing: people ask the gateway, which asks the model at its port."),
    weight=Weight.DANGEROUS,
)
SOCKET = Reason(
    why=_("It gives the container the socket of the container engine: whoever has it is root on the host."),
    instead=_("Nothing: a model server does not need it, and Berth never gives it."),
    weight=Weight.DANGEROUS,
)
HOST_IPC = Reason(
    why=_("It shares the memory of all processes of the host, which Berth never does."),
    instead=_("Shared memory of its own serves the same end: look at its size."),
    weight=Weight.DANGEROUS,
)
PRIVATE_IPC = Reason(
    why=_("Each model has shared memory of its own."), instead=_("Look at its size."), weight=Weight.HARMLESS
)
DEVICES = Reason(
    why=_("It hands out devices of the host by path. Berth gives NVIDIA's GPUs, by their number."),
    instead=_("Set the number of GPUs. Other devices are not given."),
    weight=Weight.DANGEROUS,
)
UNKNOWN = Reason(
    why=_("Berth does not know this key of Compose."),
    instead=_("Look whether the model needs it."),
)
REPLICAS = Reason(
    why=_("A config is one container at a time."),
    instead=_("Start it more than once: the gateway balances between the deployments."),
)
RUNTIME = Reason(
    why=_("Berth uses the container engine's own runtime."),
    instead=_("Set it as the engine's default on the host."),
)

BY_KEY: dict[str, Reason] = {
    **dict.fromkeys(("depends_on", "links", "external_links", "volumes_from"), _OTHERS),
    **dict.fromkeys(("build", "pull_policy", "platform", "develop", "provider", "models"), _BUILD_TIME),
    **dict.fromkeys(("networks", "hostname", "domainname", "mac_address"), _NETWORKS),
    **dict.fromkeys(("dns", "dns_opt", "dns_search", "extra_hosts"), _NAMES),
    **dict.fromkeys(("labels", "label_file", "annotations", "attach", "logging"), _MARKS),
    **dict.fromkeys(("tty", "stdin_open"), _TERMINAL),
    **dict.fromkeys(("configs", "secrets", "env_file"), _FILES),
    **dict.fromkeys(("extends",), _ELSEWHERE),
    **dict.fromkeys(("cap_add", "security_opt", "device_cgroup_rules", "credential_spec"), _RIGHTS),
    **dict.fromkeys(("pid", "userns_mode", "uts", "cgroup", "cgroup_parent"), _HOST),
    **dict.fromkeys(("user", "group_add"), _USER),
    **dict.fromkeys(("sysctls", "ulimits", "oom_kill_disable", "oom_score_adj", "storage_opt", "isolation"), _TUNING),
    **dict.fromkeys(("tmpfs", "working_dir", "read_only", "stop_signal"), _HOOKS),
    **dict.fromkeys(("post_start", "pre_stop"), _HOOKS),
    **dict.fromkeys(("cpus", "cpuset", "cpu_count", "cpu_percent", "cpu_shares", "cpu_period", "cpu_quota"), _LIMITS),
    **dict.fromkeys(("cpu_rt_runtime", "cpu_rt_period", "pids_limit", "blkio_config"), _LIMITS),
    **dict.fromkeys(("mem_limit", "mem_reservation", "mem_swappiness", "memswap_limit"), _LIMITS),
    "cap_drop": Reason(
        why=_("Berth takes away the same capabilities from every model."), instead=_NOTHING, weight=Weight.HARMLESS
    ),
    "profiles": Reason(
        why=_("Whether a model runs is what people press, not a profile."), instead=_NOTHING, weight=Weight.HARMLESS
    ),
    "scale": REPLICAS,
    "privileged": PRIVILEGED,
    "use_api_socket": SOCKET,
    "devices": DEVICES,
    "network_mode": _NETWORKS,
    "ipc": PRIVATE_IPC,
    "runtime": RUNTIME,
}

#: Of the file as a whole: what it declares for services counts only where the service uses it.
BY_TOP_KEY: dict[str, Reason] = {"include": _ELSEWHERE}

#: Below ``deploy``.
BY_DEPLOY_KEY: dict[str, Reason] = {
    "replicas": REPLICAS,
    "mode": REPLICAS,
    "labels": _MARKS,
    "endpoint_mode": _NETWORKS,
    **dict.fromkeys(("placement", "update_config", "rollback_config"), REPLICAS),
}
LIMITS = _LIMITS
