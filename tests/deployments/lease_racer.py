"""A worker of its own process for the race for the last GPU; see test_lease_race.py.

``prepare ROUNDS``: nodes with one GPU each, and for each two queued deployments; prints their ids.
``race``: places the deployment whose id comes on each line of stdin, and prints the phase that it came to.
"""

from __future__ import annotations

import json
import sys

import django


def prepare(rounds: int) -> None:
    from django.core.management import call_command
    from django.db.models.functions import Now

    from deployments.lifecycle.phases import Phase
    from deployments.models import Node
    from tests.deployments.editing import make_config, make_run
    from tests.deployments.gpu_hosts import add_gpus

    call_command("migrate", verbosity=0)
    pairs = []
    for number in range(rounds):
        node = Node.objects.create(name=f"gpu-{number}", runtimes=["docker"], heartbeat_at=Now())
        add_gpus(node, 1)
        configs = [make_config(f"racer-{number}-{side}", gpus=1, memory_gib=40, runtime="docker") for side in "ab"]
        pairs.append([make_run(config, Phase.QUEUED, pinned_node=node).pk for config in configs])
    print(json.dumps(pairs), flush=True)


def race() -> None:
    from django.db.models.functions import Now

    from deployments.lifecycle.acting import act
    from deployments.lifecycle.claims import take_claim
    from deployments.lifecycle.decide import Place
    from deployments.models import Deployment, Node
    from tests.deployments.gpu_hosts import measure

    print("at the line", flush=True)
    for line in sys.stdin:
        deployment = Deployment.objects.select_related("node", "pinned_node").get(pk=int(line))
        assert deployment.pinned_node is not None
        # As an agent would: on a busy machine the first reading is old by now. Neither tells of the other's lease.
        Node.objects.filter(pk=deployment.pinned_node.pk).update(heartbeat_at=Now())
        measure(deployment.pinned_node)
        token = take_claim(deployment.pk)
        assert token is not None
        situation: object = None  # a placement looks for itself
        act(Place(), deployment, situation, token=token)  # type: ignore[arg-type]
        deployment.refresh_from_db()
        print(deployment.phase, deployment.leases.count(), len(deployment.gpu_uuids), flush=True)


if __name__ == "__main__":
    django.setup()
    if sys.argv[1] == "prepare":
        prepare(int(sys.argv[2]))
    else:
        race()
