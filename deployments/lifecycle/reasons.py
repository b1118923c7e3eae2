"""Why a run is where it is: codes, and for each a sentence and the next step for the operator.

Codes and parameters are stored; the words are chosen when they are shown, in the reader's language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What happened and why; and what to do next, or empty when there is nothing to do."""

    sentence: str
    next_step: str = ""

    def __str__(self) -> str:
        # What an engine said ends without a full stop.
        stop = "." if self.sentence and self.next_step and self.sentence[-1] not in ".。!?…" else ""
        return f"{self.sentence}{stop} {self.next_step}".strip()


_Words = tuple[str | Promise, str | Promise]

#: Frozen from outside: it answers nothing, and no request is sent there.
PAUSED = "paused"
#: Trying again without a change cannot help.
PERMANENT = frozenset(
    {
        "hash_mismatch",
        "no_wheel_for_platform",
        "unknown_bundle",
        "command_not_found",
        "unknown_argument",
        "unknown_secret",
        "bad_model_path",
        "gated_model",
        "no_process_command",
        "needs_linux",
        "volumes_unsupported",
        "unknown_runtime",
        "launch_refused",
        "permission_denied",
        "driver_too_old",
        "no_nvidia_runtime",
        "image_not_found",
        "no_image_for_platform",
        "registry_denied",
        "name_in_use",
        "host_path_refused",
        "model_not_in_library",
    }
)

WORDS: dict[str, _Words] = {
    # People
    "start_asked": (_("Start was asked for."), ""),
    "request_asked": (_("A request at the gateway asked for it."), ""),
    "stop_asked": (_("Stop was asked for."), ""),
    "idle": (
        ngettext_lazy(
            "Nobody asked it for %(count)s minute.",
            "Nobody asked it for %(count)s minutes.",
            "count",
        ),
        "",
    ),
    "test_over": (_("The test that it was started for is over."), ""),
    "stop_now_asked": (_("Stop at once was asked for."), ""),
    "restart_asked": (_("Restart was asked for."), ""),
    "stopped": (_("Stopped as asked."), ""),
    "restarted": (_("Stopped, to be started again."), ""),
    # Waiting
    "no_node_answers": (
        _("No node has reported in the last 15 seconds."),
        _("Check that the agent runs: berth up, or the agent's service."),
    ),
    "no_node_offers_runtime": (
        _("No node offers the runtime “%(runtime)s”."),
        _("Install and start it on a node, or choose a config that runs as a process, such as smollm2-135m."),
    ),
    "host_silent": (
        _("It cannot be seen now (%(detail)s); nothing is changed until it can."),
        _("What runs goes on. For a container, look at the engine with systemctl status docker."),
    ),
    "will_not_die": (
        _("The process was killed and is still there."),
        _("It is probably stuck in the kernel or a driver: look at its state with ps; if that is D, restart the host."),
    ),
    "leaving_routing": (_("The gateways are being told that it stops."), ""),
    "draining": (
        ngettext_lazy(
            "%(count)s request in flight, at most %(seconds)s s left.",
            "%(count)s requests in flight, at most %(seconds)s s left.",
            "count",
        ),
        _("Stop now cuts them off."),
    ),
    PAUSED: (
        _("Somebody paused the container: it holds its memory and answers nothing."),
        _("Let it go on with docker unpause, or stop it."),
    ),
    "ready_without_gateway": (
        _("It answers the worker; no gateway process lives that could be asked whether it reaches it too."),
        _("Check that the gateway runs: berth up, or the gateway's service."),
    ),
    "gateway_cannot_reach": (
        _("It answers the worker, and no gateway process reaches it."),
        _("Check from the gateway's host that the address of the node is reachable: BERTH_NODE_ADDRESS, firewall."),
    ),
    "memory_held": (_("It has ended, and its GPU memory is not back yet: %(holders)s"), ""),
    "memory_not_returned": (
        _("Stopped, but its GPU memory did not come back: %(holders)s. Nothing new is put on those GPUs."),
        _("End the process that holds the memory; the GPUs are free for use again once it is gone."),
    ),
    "memory_unconfirmed": (
        _("Stopped. Whether its GPU memory is back could not be confirmed."),
        _("Look at the GPUs of the node: the agent is silent, or may not see processes."),
    ),
    "gpus_held": (
        _("It waits for GPUs: %(detail)s"),
        _("It starts by itself once they are free. Stop one of their holders to make room."),
    ),
    "fits_nowhere": (
        _("No node has the GPUs that it needs: %(detail)s"),
        _("Choose a config that needs less, or correct GPUs and memory of this one."),
    ),
    "node_in_maintenance": (
        _("The nodes that could take it are in maintenance: %(detail)s"),
        _("End the maintenance, or choose another node."),
    ),
    "pinned_gpus_held": (
        _("It waits for the GPUs that were chosen for it: %(detail)s"),
        _("It starts by itself once they are free. Or stop it, and start it where there is room."),
    ),
    "pinned_node_silent": (
        _("The node that was chosen for it, %(detail)s, has not reported in the last 15 seconds."),
        _("Check that its agent runs; or stop it, and start it on another node."),
    ),
    "pinned_node_unknown": (
        _("There is no node called %(detail)s."),
        _("Stop it, and start it with another node."),
    ),
    "waits_for_old": (_("It waits until the run that it replaces, %(detail)s, has ended."), ""),
    "superseded": (_("Its replacement is ready."), ""),
    "put_back": (_("Its replacement failed, so it was started again as it was."), ""),
    # Fetching
    "waiting_for_fetch": (
        _("It waits its turn: this node fetches other images first, or its worker is busy."),
        _("Look at what else is preparing; if nothing is, look at the worker's log."),
    ),
    "fetch_failed": (
        _("Fetching failed: %(detail)s"),
        _("Check the network and the package index of this host."),
    ),
    "fetch_timeout": (
        _("Fetching took longer than 12 hours."),
        _("Check the network of this host, then start again."),
    ),
    "hash_mismatch": (
        _("What was fetched is not what the catalogue expects: %(detail)s"),
        _("Nothing of it was used. Check the mirror that this host fetches from, then start again."),
    ),
    "no_wheel_for_platform": (
        _("There is no package for this kind of machine: %(detail)s"),
        _("Run this config on a Linux x86-64 or arm64 host."),
    ),
    "unknown_bundle": (
        _("The bundle is not known: %(detail)s"),
        _("Name a bundle of the catalogue as the image of a config with the process runtime."),
    ),
    "no_disk_space": (
        _("The disk is full."),
        _(
            "Free space where it writes: the data folder (BERTH_DATA_DIR moves it) or, for a container, "
            "its volumes in Docker's folder."
        ),
    ),
    "no_image_space": (
        _("The disk of the container engine is full: %(detail)s"),
        _("See what uses it with docker system df, and remove unused images with docker image prune -a."),
    ),
    "pull_failed": (
        _("The server runs, but could not pull its model: %(detail)s"),
        _("Check the node's network and its disk; the next pull goes on where this one ended."),
    ),
    "preload_failed": (
        _("The model is there, but the server could not load it: %(detail)s"),
        _("Look at the end of the log; choose a smaller context or free the GPU's memory."),
    ),
    "install_failed": (
        _("The server runs, but could not install its model: %(detail)s"),
        _("Look at the end of the log."),
    ),
    "model_not_in_library": (
        _("The engine's library has no such model: %(detail)s"),
        _("Correct the served name in the config, then start again."),
    ),
    "image_not_found": (
        _("The registry has no such image: %(detail)s"),
        _("Correct the image and its tag in the config, then start again."),
    ),
    "no_image_for_platform": (
        _("The image is not made for this kind of machine: %(detail)s"),
        _("Choose an image for this host's processor, then start again."),
    ),
    "registry_denied": (
        _("The registry does not give this image to this host: %(detail)s"),
        _("Check its name; if it is private, run docker login on the node as the user of the worker."),
    ),
    "registry_rate_limited": (
        _("The registry limits how often this host may pull: %(detail)s"),
        _("Raise the limit with docker login, or use a mirror in Docker's settings."),
    ),
    "registry_unreachable": (
        _("The registry could not be reached: %(detail)s"),
        _("Check the network, proxy and DNS of the node."),
    ),
    # Launching
    "engine_silent": (
        _("The container engine does not answer: %(detail)s"),
        _("Look at it with systemctl status docker; what runs goes on, and Berth acts again once it answers."),
    ),
    "name_in_use": (
        _("The name of the container is taken: %(detail)s"),
        _("Berth touches no container of others. Remove or rename that one, then start again."),
    ),
    "host_path_refused": (
        _("A volume is refused: %(detail)s"),
        _("Use a named volume, or allow the folder with BERTH_HOST_PATHS, then start again."),
    ),
    "launch_refused": (_("It could not be launched: %(detail)s"), _("Correct the config, then start again.")),
    "launch_failed": (
        _("The container engine failed to launch it: %(detail)s"),
        _("Look at the engine's log with journalctl -u docker."),
    ),
    "command_not_found": (
        _("The command was not found: %(detail)s"),
        _("Correct the command or the image of the config, then start again."),
    ),
    "no_process_command": (
        _("This engine cannot run as a process on the host: %(detail)s"),
        _("Choose the Docker runtime in the config."),
    ),
    "needs_linux": (
        _("Processes are kept on Linux only."),
        _("Choose the Docker runtime in the config."),
    ),
    "volumes_unsupported": (
        _("A process on the host mounts no volumes."),
        _("Remove the volumes from the config, or choose the Docker runtime."),
    ),
    "unknown_runtime": (_("The runtime is not known: %(detail)s"), _("Choose another runtime in the config.")),
    "permission_denied": (
        _("The host does not allow it: %(detail)s"),
        _("Correct the owner and mode of the file or folder, or run Berth as a user who may."),
    ),
    "image_missing": (
        _("What it runs is not on this host yet."),
        _("It is fetched again; wait, or look at the worker's log."),
    ),
    "no_free_port": (_("No port of this host is free for it."), _("Stop something that listens, then start again.")),
    "runtime_unavailable": (_("The host did not answer in time: %(detail)s"), _("It is tried again.")),
    "still_running": (_("The process is still there."), _("It is tried again.")),
    "host_exhausted": (
        _("The host has no room for another process: %(detail)s"),
        _("Look at its memory and at the number of processes."),
    ),
    "unknown_secret": (
        _("The config refers to a secret that this host does not know: %(name)s"),
        _("Correct the environment of the config."),
    ),
    "start_timeout": (
        _("It was not started within 2 minutes."),
        _("Look at the worker's log."),
    ),
    # Ends that nobody asked for
    "load_timeout": (
        _("It did not answer a request within the time to load. Its last answer: %(detail)s"),
        _("Look at the end of the log; raise the time to load in the config if it was still loading, or correct it."),
    ),
    "vanished": (
        _("The process disappeared; it was removed or killed from outside, or the host restarted."),
        _("Look at docker events --since 1h and at the host's log for who did that."),
    ),
    "not_answering": (
        _("It runs but has not answered three times in a row."),
        _("Look at the log; restart it if it does not recover."),
    ),
    "exited_at_once": (
        _("The command ended at once with exit code %(exit_code)s: %(last_line)s"),
        _("Look at the log, correct the arguments of the config, then start again."),
    ),
    "exited": (
        _("The server ended by itself with exit code %(exit_code)s: %(last_line)s"),
        _("Look at the log of this attempt."),
    ),
    "killed_by_host": (
        _("The process was killed from outside (signal 9), most often because the host ran out of memory."),
        _("Look at dmesg, free host memory or choose a smaller context, then start again."),
    ),
    "port_in_use": (
        _("The port is in use by another program: %(last_line)s"),
        _("Let Berth choose the port with {port} in the arguments, or stop the other program."),
    ),
    "python_error": (_("The server failed with %(last_line)s"), _("Look at the log of this attempt.")),
    "cuda_out_of_memory": (
        _("The GPU ran out of memory: %(last_line)s"),
        _("Choose a smaller context or fewer concurrent requests, or free the GPU's memory."),
    ),
    "gated_model": (
        _("The weights are gated and this host's token may not read them: %(last_line)s"),
        _("Accept the licence on the hub with the token's account, set HF_TOKEN, and restart Berth."),
    ),
    "hub_unreachable": (
        _("The model hub could not be reached: %(last_line)s"),
        _("Check the network of this host."),
    ),
    "unknown_argument": (
        _("The server does not know an argument: %(last_line)s"),
        _("Correct the arguments of the config, then start again."),
    ),
    "bad_model_path": (
        _("The model was not found: %(last_line)s"),
        _("Correct the path or repository in the arguments of the config, then start again."),
    ),
    "driver_too_old": (
        _("The NVIDIA driver is too old for this image: %(last_line)s"),
        _("Update the driver, or choose an image for an older CUDA."),
    ),
    "no_nvidia_runtime": (
        _("The container engine has no NVIDIA runtime: %(last_line)s"),
        _("Install nvidia-container-toolkit on the node."),
    ),
}


class _Blank(dict[str, Any]):
    """Stored parameters; one that is missing reads as a dash, since an old row must still be shown."""

    def __missing__(self, key: str) -> str:
        return "–"


def explain(code: str, params: Mapping[str, Any] | None = None) -> Explanation:
    """The words for ``code`` in the current language; an unknown code is shown as it is."""
    if not code:
        return Explanation(sentence="")
    sentence, next_step = WORDS.get(code, (code, ""))
    # A plural is chosen by ``count``, which must be a number.
    return Explanation(sentence=str(sentence % _Blank({"count": 0, **(params or {})})), next_step=str(next_step))
