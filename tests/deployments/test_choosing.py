"""The pure choice of node and GPUs: held against brute force, and case by case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from deployments.gpu_readings import GpuProcess
from deployments.placement.choosing import choose
from deployments.placement.islands import islands
from deployments.placement.views import GIB, Choice, GpuView, Holder, NodeView, Refusal, Request, Why

WANTED = Request(runtime="docker", gpus=2, memory_bytes=40 * GIB)


def gpu(index: int, free: float | None = 80, **changes: object) -> GpuView:
    base = GpuView(
        uuid=f"GPU-{index}",
        index=index,
        memory_bytes=80 * GIB,
        free_bytes=None if free is None else int(free * GIB),
        island="nvlink",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def node(*gpus: GpuView, name: str = "gpu-01", **changes: object) -> NodeView:
    base = NodeView(name=name, gpus=gpus, runtimes=frozenset({"docker", "process"}))
    return replace(base, **changes)  # type: ignore[arg-type]


def chosen(request: Request, *nodes: NodeView) -> Choice:
    answer = choose(request, nodes)
    assert isinstance(answer, Choice), answer
    return answer


def refused(request: Request, *nodes: NodeView) -> Refusal:
    answer = choose(request, nodes)
    assert isinstance(answer, Refusal), answer
    return answer


def test_the_first_free_gpus_of_one_island_are_taken() -> None:
    answer = chosen(WANTED, node(*(gpu(index) for index in range(4))))
    assert (answer.node, answer.gpu_uuids, answer.one_island) == ("gpu-01", ("GPU-0", "GPU-1"), True)


def test_a_foreign_process_counts_by_what_it_holds() -> None:
    process = GpuProcess(pid=8123, memory_bytes=60 * GIB, user="root", command="python3")
    taken = [gpu(0, free=20, foreign=(process,)), gpu(1), gpu(2)]
    assert chosen(WANTED, node(*taken)).gpu_uuids == ("GPU-1", "GPU-2")
    answer = refused(WANTED, node(*taken[:2]))
    assert answer.code == "gpus_held"
    assert "GPU 0 20.0/80 GiB ← pid 8123 python3 (root) 60.0 GiB" in answer.detail
    assert answer.stops == ()


def test_a_lease_holds_a_gpu_before_its_memory_is_used() -> None:
    held = [gpu(0, holder=Holder(deployment_id=7, config="other")), gpu(1)]
    answer = refused(WANTED, node(*held))
    assert "GPU 0 ← other #7" in answer.detail
    assert answer.stops == (Holder(deployment_id=7, config="other"),)


def test_the_fewest_deployments_are_offered_to_be_stopped() -> None:
    one, two = Holder(deployment_id=1, config="a"), Holder(deployment_id=2, config="b")
    both = [gpu(0, free=1, returned_bytes=79 * GIB, holder=one), gpu(1, free=1, returned_bytes=79 * GIB, holder=two)]
    assert refused(WANTED, node(*both)).stops == (one, two)
    assert refused(WANTED, node(*both, gpu(2))).stops == (one,)
    assert refused(WANTED, node(*both), node(*(replace(each, holder=two) for each in both), name="z")).stops == (two,)


def test_stopping_what_would_not_free_enough_is_not_offered() -> None:
    one = Holder(deployment_id=1, config="a")
    foreign = GpuProcess(pid=1, memory_bytes=70 * GIB)
    assert refused(WANTED, node(gpu(0, free=5, holder=one, foreign=(foreign,)), gpu(1))).stops == ()


def test_gpus_of_a_replay_and_quarantined_and_unmeasured_ones_are_never_taken() -> None:
    for bad in (gpu(0, replay=True), gpu(0, quarantined=True), gpu(0, free=None)):
        assert isinstance(choose(WANTED, [node(bad, gpu(1))]), Refusal)


def test_the_smallest_island_that_is_enough_is_taken() -> None:
    big = [gpu(index, island="nvlink a") for index in range(4)]
    small = [gpu(index, island="nvlink b") for index in (4, 5)]
    assert chosen(WANTED, node(*big, *small)).gpu_uuids == ("GPU-4", "GPU-5")


def test_a_gpu_that_somebody_else_computes_on_is_the_last_choice_but_for_a_worse_link() -> None:
    busy = (GpuProcess(pid=8123, memory_bytes=30 * GIB, user="root", command="train"),)
    monitor = (GpuProcess(pid=1, memory_bytes=GIB // 2, user="root", command="dcgm"),)
    shared = node(gpu(0, free=50, foreign=busy), gpu(1), gpu(2, foreign=monitor))
    assert chosen(WANTED, shared).gpu_uuids == ("GPU-1", "GPU-2")
    assert chosen(replace(WANTED, gpus=3), shared).gpu_uuids == ("GPU-0", "GPU-1", "GPU-2")
    pair = node(gpu(0, free=50, foreign=busy), gpu(1), name="a", has_image=True)
    assert chosen(WANTED, pair, node(gpu(0), gpu(1), name="b")).node == "b"
    assert chosen(WANTED, pair, node(gpu(0, island="x"), gpu(1, island="y"), name="b")).node == "a"


def test_gpus_apart_are_better_than_none_and_it_says_so() -> None:
    answer = chosen(WANTED, node(gpu(0, island="numa 0"), gpu(1, island="numa 1")))
    assert (answer.gpu_uuids, answer.one_island) == (("GPU-0", "GPU-1"), False)


def test_the_node_with_the_image_is_preferred_but_never_to_a_worse_link() -> None:
    with_image = node(gpu(0), gpu(1), name="b", has_image=True)
    assert chosen(WANTED, node(gpu(0), gpu(1), name="a"), with_image).node == "b"
    apart = replace(with_image, gpus=(gpu(0, island="x"), gpu(1, island="y")))
    assert chosen(WANTED, node(gpu(0), gpu(1), name="a"), apart).node == "a"


def test_without_gpus_the_least_loaded_node_that_has_the_image_takes_it() -> None:
    request = Request(runtime="process")
    free = [gpu(0), gpu(1)]
    assert chosen(request, node(name="a", live=3), node(*free, name="b", live=1)).node == "b"
    assert chosen(request, node(name="a", live=3, has_image=True), node(name="b", live=1)).node == "a"


def test_of_two_nodes_with_the_image_that_with_the_weights_is_preferred() -> None:
    with_weights = node(gpu(0), gpu(1), name="b", has_image=True, has_weights=True)
    assert chosen(WANTED, node(gpu(0), gpu(1), name="a", has_image=True), with_weights).node == "b"


def test_a_refusal_says_of_every_node_and_gpu_what_is_in_the_way() -> None:
    process = GpuProcess(pid=8123, memory_bytes=60 * GIB, user="root", command="python3")
    mixed = node(
        gpu(0, holder=Holder(deployment_id=7, config="other")),
        gpu(1, free=20, foreign=(process,)),
        gpu(2, quarantined=True),
        gpu(3, free=None, trouble="lost"),
        gpu(4, replay=True),
        gpu(5, memory_bytes=24 * GIB, free=24),
        gpu(6),
    )
    others = [
        node(name="silent", is_fresh=False),
        node(name="closed", in_maintenance=True),
        node(name="bare", runtimes=frozenset({"process"})),
        node(gpu(0), name="small"),
    ]
    found = [
        (each.node, each.why, None if each.gpu is None else each.gpu.index)
        for each in refused(WANTED, mixed, *others).obstacles
    ]
    assert found == [
        ("bare", Why.NO_RUNTIME, None),
        ("closed", Why.MAINTENANCE, None),
        ("gpu-01", Why.HELD, 0),
        ("gpu-01", Why.MEMORY_USED, 1),
        ("gpu-01", Why.QUARANTINED, 2),
        ("gpu-01", Why.UNMEASURED, 3),
        ("gpu-01", Why.REPLAY, 4),
        ("gpu-01", Why.TOO_SMALL, 5),
        ("silent", Why.SILENT, None),
        ("small", Why.TOO_FEW, None),
    ]


def test_pins_are_kept_or_refused() -> None:
    request = replace(WANTED, node="gpu-01", gpu_uuids=("GPU-2", "GPU-3"))
    four = [gpu(index) for index in range(4)]
    assert chosen(request, node(*four), node(*four, name="a")).gpu_uuids == ("GPU-2", "GPU-3")
    four[2] = gpu(2, free=3)
    answer = refused(request, node(*four))
    assert answer.code == "pinned_gpus_held"
    assert answer.detail == "gpu-01: GPU 2 3.0/80 GiB", "what is free or not asked for is not in the way"
    assert refused(replace(WANTED, node="nowhere"), node(*four)).code == "pinned_node_unknown"
    silent = node(*four, name="b", is_fresh=False)
    assert refused(replace(WANTED, node="b"), node(*four), silent).code == "pinned_node_silent"


def test_the_first_thing_that_is_missing_is_the_reason() -> None:
    four = [gpu(index) for index in range(4)]
    assert refused(WANTED).code == "no_node_answers"
    assert refused(WANTED, node(*four, is_fresh=False)).code == "no_node_answers"
    assert refused(WANTED, node(*four, runtimes=frozenset({"process"}))).code == "no_node_offers_runtime"
    assert refused(WANTED, node(*four, in_maintenance=True)).code == "node_in_maintenance"
    assert refused(WANTED, node(gpu(0))).code == "fits_nowhere"
    assert refused(replace(WANTED, memory_bytes=90 * GIB), node(*four)).code == "fits_nowhere"


gpus = st.builds(
    gpu,
    index=st.integers(0, 7),
    free=st.none() | st.integers(0, 80),
    island=st.sampled_from(["a", "b"]),
    holder=st.none() | st.builds(Holder, deployment_id=st.integers(1, 3), config=st.just("c")),
    returned_bytes=st.sampled_from([0, 40 * GIB]),
    foreign=st.sampled_from([(), (GpuProcess(pid=1, memory_bytes=5 * GIB),)]),
    quarantined=st.booleans(),
    replay=st.booleans(),
)
nodes = st.builds(
    lambda gpus, **changes: node(*gpus, **changes),
    st.lists(gpus, max_size=6, unique_by=lambda each: each.index),
    name=st.sampled_from(["a", "b", "c"]),
    in_maintenance=st.booleans(),
    is_fresh=st.booleans(),
    has_image=st.booleans(),
)


@given(st.lists(nodes, max_size=3, unique_by=lambda each: each.name), st.integers(0, 4), st.randoms())
def test_it_finds_a_place_exactly_when_there_is_one(found: list[NodeView], count: int, random: object) -> None:
    request = replace(WANTED, gpus=count)
    answer = choose(request, found)
    assert (isinstance(answer, Choice)) == any(possible(request, each) for each in found)
    if isinstance(answer, Choice):
        place = next(each for each in found if each.name == answer.node)
        assert answer.gpu_uuids in possible(request, place)
    else:
        in_the_way = {(each.node, each.gpu and each.gpu.uuid) for each in answer.obstacles}
        for each in found:
            free = [one for one in each.gpus if (each.name, one.uuid) not in in_the_way]
            assert (each.name, None) in in_the_way or len(free) < count, "what has no obstacle would have been taken"
    assert choose(request, found[::-1]) == answer


@given(st.lists(nodes, max_size=2, unique_by=lambda each: each.name), st.integers(1, 3))
def test_stopping_what_is_offered_makes_room_and_fewer_would_not(found: list[NodeView], count: int) -> None:
    request = replace(WANTED, gpus=count)
    answer = choose(request, found)
    if not isinstance(answer, Refusal):
        return
    holders = {one.holder for each in found for one in each.gpus if one.holder}
    enough = [
        chosen
        for size in range(1, len(holders) + 1)
        for chosen in combinations(sorted(holders, key=lambda each: each.deployment_id), size)
        if any(possible(request, without(each, chosen)) for each in found)
    ]
    if answer.stops:
        assert answer.stops in enough
        assert len(answer.stops) == len(enough[0])
    else:
        assert not enough


def without(place: NodeView, stopped: Sequence[Holder]) -> NodeView:
    """The node once these deployments have ended and their memory is back."""
    return replace(
        place,
        gpus=tuple(
            replace(each, holder=None, free_bytes=each.free_bytes + each.returned_bytes)
            if each.holder in stopped and each.free_bytes is not None
            else each
            for each in place.gpus
        ),
    )


def possible(request: Request, place: NodeView) -> list[tuple[str, ...]]:
    """Every allowed set of GPUs of a node, by brute force."""
    if place.in_maintenance or not place.is_fresh:
        return []
    ordered: Sequence[GpuView] = sorted(place.gpus, key=lambda each: each.index)
    return [
        tuple(each.uuid for each in chosen)
        for chosen in combinations(ordered, request.gpus)
        if all(
            not each.replay
            and not each.quarantined
            and each.holder is None
            and each.free_bytes is not None
            and each.free_bytes >= request.memory_bytes
            for each in chosen
        )
    ]


def test_islands_follow_links_over_others_and_else_the_numa_node() -> None:
    found = islands(
        {
            "a": (("b",), 0),
            "b": (("a", "c"), 0),
            "c": (("b",), 1),
            "d": ((), 1),
            "e": ((), 1),
            "f": ((), None),
        }
    )
    assert found["a"] == found["b"] == found["c"] != found["d"]
    assert found["d"] == found["e"] != found["f"]
