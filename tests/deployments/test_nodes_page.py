"""The nodes page, the placement on a config's page, and the same on the command line."""

from __future__ import annotations

import json
from io import StringIO

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from deployments.actors import Actor
from deployments.gpu_memory import quarantine
from deployments.gpu_readings import GpuProcess
from deployments.lifecycle.phases import Phase
from deployments.models import AuditEntry, Config, Deployment, Gpu, GpuLease, Node
from deployments.placement.views import GIB
from tests.deployments.editing import make_config, make_run
from tests.deployments.gpu_hosts import add_gpus, measure

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("redis_server")]


@pytest.fixture
def node() -> Node:
    made = Node.objects.create(name="gpu-01", runtimes=["docker", "process"], heartbeat_at=Now())
    add_gpus(made, 2)
    return made


@pytest.fixture
def config() -> Config:
    return make_config("wanted", runtime="docker", gpus=2, memory_gib=100)


def person(role: str, client: Client) -> Client:
    user = User.objects.create_user(role)
    user.groups.add(Group.objects.get(name="viewer"), Group.objects.get(name=role))
    client.force_login(user)
    return client


@pytest.fixture
def operator(client: Client) -> Client:
    return person("operator", client)


def hold(node: Node, name: str = "holder") -> Deployment:
    """A live run that has the first GPU and 60 GiB of it."""
    run = make_run(make_config(name, runtime="docker", gpus=1, memory_gib=60), Phase.READY, node=node)
    GpuLease.objects.create(gpu=node.gpus.get(index=0), deployment=run)
    process = GpuProcess(pid=1, memory_bytes=60 * GIB, run_name=run.run_name)
    measure(node, {0: [process]})
    return run


def text(client: Client, address: str, *, fragment: bool = False) -> str:
    headers = {"HX-Request": "true"} if fragment else {}
    return client.get(address, headers=headers).content.decode()


# The page


def test_each_gpu_shows_its_holder_and_what_is_free(operator: Client, node: Node) -> None:
    hold(node)
    page = text(operator, reverse("deployments:nodes"))
    assert "20.0 of 80 GiB free" in page
    assert "80.0 of 80 GiB free" in page
    assert "holder" in page
    assert "<html" not in text(operator, reverse("deployments:nodes"), fragment=True)


def test_the_page_asks_a_fixed_number_of_queries(
    operator: Client, node: Node, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    operator.get(reverse("deployments:nodes"))
    with django_assert_num_queries(11):
        operator.get(reverse("deployments:nodes"))
    for number in range(3):
        add_gpus(Node.objects.create(name=f"more-{number}", runtimes=["docker"], heartbeat_at=Now()), 4)
    hold(node)
    with django_assert_num_queries(11):
        operator.get(reverse("deployments:nodes"))


def test_a_node_says_what_it_has(operator: Client, node: Node) -> None:
    Node.objects.update(facts={"versions": {"docker": "27.1.1"}})
    measure(node, driver="580.159")
    assert "docker 27.1.1 · process · driver 580.159 · 2 × H200</p>" in text(operator, reverse("deployments:nodes"))
    Node.objects.create(name="bare", runtimes=["process"], heartbeat_at=Now())
    assert '<p class="quiet">process</p>' in text(operator, reverse("deployments:nodes"))


def test_without_nodes_it_says_what_to_do(operator: Client) -> None:
    assert "No node has reported yet." in text(operator, reverse("deployments:nodes"))


def test_maintenance_is_put_on_and_taken_off(operator: Client, node: Node) -> None:
    address = reverse("deployments:maintenance", args=[node.name])
    assert operator.post(address, {"on": "1", "note": "new fans"}).status_code == 303
    node.refresh_from_db()
    assert (node.maintenance_by, node.maintenance_note) == ("operator", "new fans")
    assert "new fans" in text(operator, reverse("deployments:nodes"))
    operator.post(address, {"on": "0"})
    node.refresh_from_db()
    assert node.maintenance_since is None


def test_a_quarantine_is_lifted_by_hand(operator: Client, node: Node) -> None:
    quarantine(["GPU-gpu-01-0"], node, {"note": "odd"}, actor=Actor.command_line())
    page = text(operator, reverse("deployments:nodes"))
    assert "quarantined" in page
    address = reverse("deployments:lift_quarantine", args=[node.name, "GPU-gpu-01-0"])
    assert operator.post(address).status_code == 303
    assert Gpu.objects.get(uuid="GPU-gpu-01-0").quarantined_at is None
    assert operator.post(address).status_code == 303, "pressing again changes nothing"


def test_a_viewer_sees_it_and_may_change_nothing(client: Client, node: Node) -> None:
    viewer = person("viewer", client)
    assert viewer.get(reverse("deployments:nodes")).status_code == 200
    assert viewer.post(reverse("deployments:maintenance", args=[node.name]), {"on": "1"}).status_code == 403
    assert viewer.post(reverse("deployments:lift_quarantine", args=[node.name, "GPU-gpu-01-0"])).status_code == 403


# A config's page


def test_a_config_says_where_it_would_go(operator: Client, node: Node, config: Config) -> None:
    page = text(operator, reverse("deployments:config", args=[config.name]))
    assert "A start now would go to <strong>gpu-01</strong>, GPU 0, 1." in page
    assert "They reach each other fast." in page


def test_a_config_says_who_is_in_its_way_and_offers_to_stop_that(operator: Client, node: Node, config: Config) -> None:
    run = hold(node)
    page = text(operator, reverse("deployments:config", args=[config.name]))
    assert "Not now: no node has 2 GPUs with 50 GiB free each." in page
    assert f'holder <span class="quiet">#{run.pk}</span>' in page
    assert "Stop holder and start this" in page
    operator.post(reverse("deployments:start", args=[config.name]), {"stop_first": [str(run.pk)]})
    run.refresh_from_db()
    assert run.desired == "stopped"
    assert Deployment.objects.filter(config=config).exists()


def test_a_start_goes_to_the_chosen_gpus(operator: Client, node: Node) -> None:
    make_config("one", runtime="docker", gpus=1, memory_gib=10)
    operator.post(reverse("deployments:start", args=["one"]), {"node": "gpu-01", "gpu": ["1"]})
    run = Deployment.objects.get()
    assert (run.pinned_node, run.pinned_gpus) == (node, ["GPU-gpu-01-1"])


def test_a_wrong_choice_is_a_sentence(operator: Client, node: Node, config: Config) -> None:
    answer = operator.post(reverse("deployments:start", args=[config.name]), {"node": "gpu-01", "gpu": ["1"]})
    assert answer.status_code in {400, 422}
    assert "needs 2 GPUs" in answer.content.decode()
    assert not Deployment.objects.exists()


# The command line


def run(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    try:
        call_command(*arguments, stdout=out, stderr=err)
    except (SystemExit, CommandError) as error:
        err.write(f"\nexit {error}")
    return out.getvalue(), err.getvalue()


def test_a_dry_run_says_where_it_would_go_and_starts_nothing(node: Node, config: Config) -> None:
    out, _err = run("start", "wanted", "--dry-run")
    assert out.strip() == "wanted → gpu-01 GPU 0, GPU 1"
    assert not Deployment.objects.exists()


def test_a_dry_run_fails_when_nothing_takes_it_and_says_what_would_help(node: Node, config: Config) -> None:
    hold(node)
    out, err = run("start", "wanted", "--dry-run", "--json")
    told = json.loads(out)
    assert (told["fits"], told["reason"], told["stop_first"][0]["config"]) == (False, "gpus_held", "holder")
    assert "berth start wanted --stop-first holder" in err


def test_stop_first_stops_it(node: Node, config: Config) -> None:
    holder = hold(node)
    run("start", "wanted", "--stop-first", "holder")
    holder.refresh_from_db()
    assert holder.desired == "stopped"


def test_stop_now_cuts_off(node: Node) -> None:
    holder = hold(node)
    run("stop", "holder", "--now")
    holder.refresh_from_db()
    assert holder.stop_now


def test_a_dry_run_names_whatever_is_in_the_way(node: Node, config: Config) -> None:
    run_ = hold(node)
    foreign = GpuProcess(pid=8123, memory_bytes=60 * GIB, user="root", command="python3")
    measure(node, {0: [GpuProcess(pid=1, memory_bytes=60 * GIB, run_name=run_.run_name)], 1: [foreign]})
    Node.objects.create(name="gpu-02", runtimes=["docker"])
    out, err = run("start", "wanted", "--dry-run")
    alone = "It starts by itself once they are free. Stopping a few deployments would not be enough."
    assert out == ""
    assert err.splitlines() == [
        "wanted: Not now: no node has 2 GPUs with 50 GiB free each. " + alone,
        f"  gpu-01 GPU 0: held by holder (deployment {run_.pk})",
        "  gpu-01 GPU 1: too little free: 50 GiB are needed; 20 GiB of 80 GiB free; pid 8123 python3 (root) 60 GiB",
        "  gpu-02: it has not reported in the last 15 seconds",
        "",
        "exit 1",
    ]


def test_a_dry_run_asks_for_the_chosen_gpus(node: Node) -> None:
    make_config("one", runtime="docker", gpus=1, memory_gib=10)
    out, _err = run("start", "one", "--dry-run", "--node", "gpu-01", "--gpus", "1")
    assert out.strip() == "one → gpu-01 GPU 1"
    _out, err = run("start", "one", "--dry-run", "--node", "gpu-01", "--gpus", "7")
    assert "needs 1 GPUs of gpu-01, which has: 0, 1." in err
    run("start", "one", "--node", "gpu-01", "--gpus", "1")
    assert Deployment.objects.get().pinned_gpus == ["GPU-gpu-01-1"]


def test_the_nodes_are_listed_with_who_holds_what(node: Node) -> None:
    hold(node)
    out, _err = run("nodes")
    assert out.splitlines()[0].split() == ["NODE", "STATE", "RUNTIMES", "GPU", "FREE", "OF", "HELD", "BY"]
    assert "gpu-01" in out.splitlines()[1]
    assert "holder #" in out.splitlines()[1]
    told = json.loads(run("nodes", "--json")[0])[0]
    assert [gpu["held_by"] is None for gpu in told["gpus"]] == [False, True]
    assert told["gpus"][1]["free_bytes"] == 80 * GIB


def test_maintenance_from_the_command_line_is_audited(node: Node) -> None:
    out, _err = run("nodes", "gpu-01", "--maintenance", "on", "--note", "new fans")
    assert "maintenance" in out
    node.refresh_from_db()
    assert node.maintenance_note == "new fans"
    assert AuditEntry.objects.filter(action="node.maintenance_on", target="gpu-01").exists()
    run("nodes", "gpu-01", "--maintenance", "off")
    node.refresh_from_db()
    assert node.maintenance_since is None
    assert "There is no node" in run("nodes", "gpu-99", "--maintenance", "on")[1]
    assert "exit" in run("nodes", "gpu-01")[1]


# A config's page while things change


def test_the_placement_refreshes_alone_in_a_fixed_number_of_queries(
    operator: Client, node: Node, config: Config, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    address = reverse("deployments:config", args=[config.name]) + "?part=placement"
    with django_assert_num_queries(15):
        part = text(operator, address, fragment=True)
    assert part.lstrip().startswith('<div id="config-placement"')
    assert "<html" not in part
    hold(node)
    for number in range(3):
        add_gpus(Node.objects.create(name=f"more-{number}", runtimes=["docker"], heartbeat_at=Now()), 1)
    with django_assert_num_queries(15):
        part = text(operator, address, fragment=True)
    assert "it has fewer than 2 GPUs" in part


def test_the_placement_follows_what_is_being_chosen(
    operator: Client, node: Node, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    make_config("one", runtime="docker", gpus=1, memory_gib=10)
    add_gpus(Node.objects.create(name="gpu-02", runtimes=["docker"], heartbeat_at=Now()), 2)
    address = reverse("deployments:config", args=["one"]) + "?part=placement"
    assert "A start now would go to <strong>gpu-01</strong>, GPU 0." in text(operator, address, fragment=True)
    with django_assert_num_queries(15):
        part = text(operator, f"{address}&node=gpu-02&gpu=1", fragment=True)
    assert "A start now would go to <strong>gpu-02</strong>, GPU 1." in part
    assert "Leave it to Berth" in part
    assert part.count("Start there") == 2, "the other node may be chosen still"
    asked = 'hx-get="/catalogue/one/?part=placement&amp;node=gpu-02&amp;gpu=1" hx-trigger="every 5s'
    assert asked in part, "what comes by itself keeps to the choice"
    assert "gpu-02</strong>, GPU 0." in text(operator, f"{address}&node=gpu-02", fragment=True)
    assert "gpu-02</strong>, GPU 1." in text(operator, f"{address}&node=gpu-02&gpu=1".replace("part=placement&", ""))


def test_a_choice_that_is_not_free_says_so_before_the_start(operator: Client, node: Node) -> None:
    hold(node)
    make_config("one", runtime="docker", gpus=1, memory_gib=40)
    address = reverse("deployments:config", args=["one"]) + "?part=placement&node=gpu-01"
    assert "Not now: the GPUs that were chosen are not free." in text(operator, f"{address}&gpu=0", fragment=True)
    assert "gpu-01</strong>, GPU 1." in text(operator, f"{address}&gpu=1", fragment=True)


def test_a_choice_of_too_few_says_how_many_it_needs(operator: Client, node: Node, config: Config) -> None:
    address = reverse("deployments:config", args=[config.name]) + "?part=placement&node=gpu-01"
    part = text(operator, f"{address}&gpu=1", fragment=True)
    assert "Chosen on <strong>gpu-01</strong>: GPU 1. It needs 2." in part
    assert "A start now" not in part
    assert "gpu-01</strong>, GPU 0, 1." in text(operator, f"{address}&gpu=1&gpu=0", fragment=True)
    assert "gpu-01</strong>, GPU 0, 1." in text(operator, f"{address}&gpu=nonsense&gpu=77", fragment=True)
    nowhere = text(operator, address.replace("gpu-01", "elsewhere"), fragment=True)
    assert "There is no node called elsewhere." in nowhere


def test_a_config_that_runs_shows_where_and_offers_no_second_start(operator: Client, node: Node) -> None:
    run_ = hold(node)
    Deployment.objects.filter(pk=run_.pk).update(gpu_uuids=["GPU-gpu-01-0"])
    page = text(operator, reverse("deployments:config", args=["holder"]))
    assert "It is started already, on <strong>gpu-01</strong>, GPU 0." in page
    assert "Start there" not in page


def test_a_viewer_sees_the_offer_and_why_it_is_not_his(client: Client, node: Node, config: Config) -> None:
    viewer = person("viewer", client)
    run_ = hold(node)
    page = text(viewer, reverse("deployments:config", args=[config.name]))
    assert "Stop holder and start this" in page
    assert 'name="stop_first"' not in page
    assert "needs the operator role" in page
    answer = viewer.post(reverse("deployments:start", args=[config.name]), {"stop_first": [str(run_.pk)]})
    assert answer.status_code == 403
    run_.refresh_from_db()
    assert run_.desired == "running"


def test_both_wishes_are_recorded_together_or_not_at_all(operator: Client, node: Node, config: Config) -> None:
    run_ = hold(node)
    address = reverse("deployments:start", args=[config.name])
    assert operator.post(address, {"stop_first": [str(run_.pk), "4711"]}).status_code == 404
    run_.refresh_from_db()
    assert run_.desired == "running"
    assert not Deployment.objects.filter(config=config).exists()
    operator.post(address, {"stop_first": [str(run_.pk)]})
    assert set(AuditEntry.objects.values_list("action", "target")) >= {
        ("deployment.stop", "holder"),
        ("deployment.start", "wanted"),
    }


# The catalogue


def test_the_catalogue_says_whether_each_fits(operator: Client, node: Node, config: Config) -> None:
    make_config("huge", runtime="docker", gpus=4, memory_gib=144)
    hold(node)
    page = text(operator, reverse("deployments:catalogue"))
    assert "fits: after stopping holder" in page
    assert "fits: nowhere" in page
    assert "Nowhere: no node has 4 GPUs of at least 36 GiB each." in page
    measure(node)
    GpuLease.objects.all().delete()
    assert "fits: gpu-01 now" in text(operator, reverse("deployments:catalogue_row", args=["wanted"]), fragment=True)
    foreign = [GpuProcess(pid=8123, memory_bytes=60 * GIB, user="root", command="python3")]
    measure(node, {0: foreign, 1: foreign})
    assert "fits: not now" in text(operator, reverse("deployments:catalogue"))
    Node.objects.update(heartbeat_at=None)
    assert "fits: no node takes it now" in text(operator, reverse("deployments:catalogue"))
