"""Names in Redis that more than one process writes or reads."""

from __future__ import annotations

from typing import Final

#: Written by each sweep, which proves beat, worker and Redis: JSON ``{"at": epoch seconds}``.
SWEEP_HEARTBEAT: Final = "berth:sweep"
#: Matches what :func:`agent_heartbeat` gives for every node.
AGENT_HEARTBEATS: Final = "berth:agent:*"
#: Matches what :func:`gpu_live` gives for every node.
GPU_LIVE: Final = "berth:gpu-live:*"
#: The routing table, JSON ``{"version": n, "routes": […], "startable": […]}``, and the channel of its new version.
ROUTES: Final = "berth:routes"
ROUTES_CHANGED: Final = "berth:routes:changed"
#: Matches what :func:`gateway_state` gives for every gateway process; each lives 3 s unless renewed.
GATEWAY_STATES: Final = "berth:gateway:*"
#: The channel that asks gateways to reach a server: JSON ``{"deployment": id, "endpoint": base URL}``.
REACH_ASKED: Final = "berth:reach"
#: The stream of configs that requests wait for, each ``{"config": name}``; read by the worker that starts them.
DEMAND: Final = "berth:demand"
#: How long nobody has asked each deployment: see :mod:`deployments.lifecycle.idle`.
IDLE: Final = "berth:idle"
#: Matches what :func:`gateway_left` gives.
GATEWAYS_LEFT: Final = "berth:gateway-left:*"
#: The channel that tells gateways of a made or revoked key.
KEYS_CHANGED: Final = "berth:keys:changed"

#: The stream of what gateways served: batches that the worker adds to the roll-ups; see playground/services/usage.py.
USAGE: Final = "berth:usage"


def agent_heartbeat(node: str) -> str:
    """Written by the agent of ``node``: JSON ``{"at": epoch seconds, …}``."""
    return AGENT_HEARTBEATS.replace("*", node)


def gpu_reading(node: str) -> str:
    """What the GPUs of ``node`` hold: see :class:`deployments.gpu_readings.NodeReading`."""
    return f"berth:gpus:{node}"


def gpu_live(node: str) -> str:
    """The stream of the last readings of ``node``, each the JSON of :func:`gpu_reading` in its field ``reading``."""
    return GPU_LIVE.replace("*", node)


def gpu_owners(node: str) -> str:
    """Whose the processes on the GPUs of ``node`` are, JSON by pid and start; for a new agent."""
    return f"berth:gpu-owners:{node}"


def gpu_peak(run_name: str) -> str:
    """The most memory, in bytes, that a run was seen to hold over all its GPUs."""
    return f"berth:gpu-peak:{run_name}"


def gpu_history(node: str, uuid: str, step_s: int) -> str:
    """The stream of what a GPU did at one resolution: see :mod:`deployments.gpu_history`."""
    return f"berth:gpu-history:{node}:{uuid}:{step_s}"


def gpu_marks(node: str) -> str:
    """The stream of what happened on the GPUs of ``node``: see :mod:`deployments.gpu_history.marks`."""
    return f"berth:gpu-marks:{node}"


def gateway_reached(deployment_id: int) -> str:
    """Written by the gateway process that reached the server of a deployment: the base URL that it reached."""
    return f"berth:reached:{deployment_id}"


def gateway_state(process: str) -> str:
    """Written by a gateway process while it lives: JSON ``{"version": n, "in_flight": {deployment: requests}, …}``.

    ``served`` counts the requests that were sent to each deployment since the process began.
    """
    return GATEWAY_STATES.replace("*", process)


def gateway_left(process: str) -> str:
    """The last state of a gateway process that ended in good order, for a minute."""
    return GATEWAYS_LEFT.replace("*", process)


def start_state(config: str) -> str:
    """Where the newest run of a config is: see :mod:`deployments.start_states`."""
    return f"berth:start:{config}"


def log_questions(node: str) -> str:
    """The list of questions about logs that the agent of ``node`` answers: see :mod:`deployments.log_queries`."""
    return f"berth:log-questions:{node}"


def log_answer(question: str) -> str:
    """The list that gets the answer to one question."""
    return f"berth:log-answer:{question}"


def key_budget(key_id: int, name: str) -> str:
    """What gateways have taken of one limit of a gateway key: a hash of ``window`` and ``used``."""
    return f"berth:budget:{key_id}:{name}"
