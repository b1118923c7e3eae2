"""What the gateway served, from the roll-ups, and what its processes have under way, as they tell through Redis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from prometheus_client.metrics_core import Metric

from deployments.lifecycle.phases import ENDED
from playground.selectors_gateway import GatewaySums

from .families import counter, gauge, put, summary, texts
from .stored import StoredDeployment

LABELS: Final = ("config", "endpoint")
SINCE: Final = " Since the first of the month; config is empty where nothing served it."


def served_families(sums: Iterable[GatewaySums]) -> list[Metric]:
    """Counters that begin at nothing with each month, and survive restarts."""
    requests = counter("berth_gateway_requests", "Requests that are over." + SINCE, (*LABELS, "status"))
    tokens = counter("berth_gateway_tokens", "Tokens that servers told of." + SINCE, (*LABELS, "kind"))
    duration = summary("berth_gateway_request_duration", "Time to the end." + SINCE, LABELS, unit="seconds")
    first_token = summary(
        "berth_gateway_first_token", "Time to the first part of a stream." + SINCE, LABELS, unit="seconds"
    )
    queue = summary("berth_gateway_queue", "Time spent waiting for a server." + SINCE, LABELS, unit="seconds")
    for one in sums:
        labels = texts((one.config, one.endpoint))
        fine = one.requests - one.client_errors - one.server_errors
        for status, count in (("2xx", fine), ("4xx", one.client_errors), ("5xx", one.server_errors)):
            put(requests, (*labels, status), count)
        put(tokens, (*labels, "prompt"), one.prompt_tokens)
        put(tokens, (*labels, "completion"), one.completion_tokens)
        duration.add_metric(labels, one.durations, one.duration_ms / 1000)
        first_token.add_metric(labels, one.first_tokens, one.first_token_ms / 1000)
        queue.add_metric(labels, one.requests, one.queue_ms / 1000)
    return [requests, tokens, duration, first_token, queue]


def under_way_families(in_flight: Sequence[Mapping[int, int]], rows: Iterable[StoredDeployment]) -> list[Metric]:
    """Processes, and requests at each deployment over all of them."""
    processes = gauge("berth_gateway_processes", "Gateway processes that live.")
    flying = gauge("berth_gateway_requests_in_flight", "Requests under way.", ("deployment", "config"))
    put(processes, (), len(in_flight))
    configs = {row.pk: row.config for row in rows if row.phase not in ENDED}
    for deployment in sorted({*configs, *(key for told in in_flight for key in told)}):
        count = sum(told.get(deployment, 0) for told in in_flight)
        put(flying, (deployment, configs.get(deployment, "")), count)
    return [processes, flying]
