"""What the process runtime promises beyond the conformance suite: nothing doubles, nothing escapes, nothing is lost."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.exceptions import LaunchError, RuntimeFaultError, RuntimeUnavailableError
from deployments.runtimes import kept_run, process, run_files
from deployments.runtimes.base import RunSpec, RunState
from deployments.runtimes.kept_run import KeptRun
from deployments.runtimes.process import ProcessRuntime
from tests.deployments.benches import (
    Behaviour,
    ProcessBench,
    all_lines,
    is_alive,
    kill,
    launch,
    wait_for,
    wait_for_state,
)

ROOT = Path(__file__).resolve().parents[2]
START = """
import sys
from pathlib import Path
from django.conf import settings
from deployments.runtimes.process import ProcessRuntime
settings.configure(USE_I18N=False)
ProcessRuntime(Path(sys.argv[1])).start(sys.argv[2])
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[ProcessBench]:
    made = ProcessBench(tmp_path)
    yield made
    made.close()


def noted(bench: ProcessBench, name: str, file: str = run_files.STATE) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((bench.folder / "processes" / name / file).read_text())
    return content


def keeper_pid(bench: ProcessBench, name: str) -> int:
    return int(noted(bench, name)["keeper"]["pid"])


def run_program(bench: ProcessBench, code: str, **environment: str) -> str:
    run = bench.program(code, **environment)
    bench.runtime.create(run)
    bench.runtime.start(run.name)
    return run.name


def start_elsewhere(bench: ProcessBench, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", START, str(bench.folder), name], cwd=ROOT)


def test_processes_that_start_one_run_at_the_same_time_start_one_process(bench: ProcessBench) -> None:
    run = bench.spec(Behaviour.SERVES)
    bench.runtime.create(run)
    racers = [start_elsewhere(bench, run.name) for _ in range(4)]
    assert [racer.wait() for racer in racers] == [0] * 4
    assert len(KeptRun(bench.folder / "processes" / run.name).members()) == 1
    wait_for(lambda: len(all_lines(bench.runtime, run.name)) == 3, "the output of one process")


def test_a_run_outlives_the_process_that_started_it(bench: ProcessBench) -> None:
    run = bench.spec(Behaviour.SERVES)
    bench.runtime.create(run)
    with start_elsewhere(bench, run.name) as starter:
        assert starter.wait() == 0
    observed = bench.runtime.observe(run.name)
    assert observed.state is RunState.RUNNING
    assert observed.pid is not None
    assert os.getsid(observed.pid) == observed.pid
    assert run_files.members(noted(bench, run.name, run_files.RUN)["token"]) == [observed.pid]


def test_a_run_outlives_its_keeper_and_gets_another_one(bench: ProcessBench) -> None:
    code = "import signal, time; signal.signal(10, lambda *_: print('still here', flush=True));"
    name = run_program(bench, code + "print('up', flush=True)\nwhile True: time.sleep(600)")
    wait_for(lambda: len(all_lines(bench.runtime, name)) == 1, "the first line")
    first, pid = keeper_pid(bench, name), bench.runtime.observe(name).pid
    assert pid
    kill(first)
    assert bench.runtime.observe(name).pid == pid
    wait_for(lambda: keeper_pid(bench, name) != first, "another keeper")
    os.kill(pid, signal.SIGUSR1)
    wait_for(lambda: len(all_lines(bench.runtime, name)) == 2, "the log to go on")
    assert [line.cursor for line in all_lines(bench.runtime, name)] == [1, 2]
    bench.runtime.stop(name, force=False)
    ended = wait_for_state(bench.runtime, name, RunState.EXITED)
    assert ended.exit_code is None
    assert "keeper" in ended.detail


def test_a_process_whose_keeper_died_before_noting_it_is_found_and_not_doubled(bench: ProcessBench) -> None:
    name = launch(bench, Behaviour.SERVES)
    pid, state = bench.runtime.observe(name).pid, noted(bench, name)
    kill(keeper_pid(bench, name))
    path = bench.folder / "processes" / name / run_files.STATE
    path.write_text(json.dumps({"boot": state["boot"]}))
    observed = bench.runtime.observe(name)
    assert (observed.state, observed.pid) == (RunState.RUNNING, pid)
    bench.runtime.start(name)
    assert bench.runtime.observe(name).pid == pid
    assert KeptRun(path.parent).members() == [pid]


def test_a_keeper_that_died_before_starting_anything_is_replaced(bench: ProcessBench) -> None:
    run = bench.spec(Behaviour.SERVES)
    bench.runtime.create(run)
    path = bench.folder / "processes" / run.name / run_files.STATE
    path.write_text(json.dumps({"boot": run_files.boot_id()}))
    assert bench.runtime.observe(run.name).state is RunState.GONE
    bench.runtime.start(run.name)
    assert bench.runtime.observe(run.name).state is RunState.RUNNING


def test_a_run_that_died_with_its_keeper_has_ended_with_a_lost_exit_code(bench: ProcessBench) -> None:
    name = launch(bench, Behaviour.SERVES)
    pid = bench.runtime.observe(name).pid
    assert pid
    kill(keeper_pid(bench, name))
    kill(pid)
    observed = bench.runtime.observe(name)
    assert (observed.state, observed.exit_code) == (RunState.EXITED, None)
    assert observed.detail
    bench.runtime.start(name)
    assert bench.runtime.observe(name).state is RunState.EXITED


def test_a_run_of_an_earlier_boot_has_ended_whoever_has_its_pid_now(bench: ProcessBench) -> None:
    run = bench.spec(Behaviour.SERVES)
    bench.runtime.create(run)
    me = run_files.identify(os.getpid())
    path = bench.folder / "processes" / run.name / run_files.STATE
    path.write_text(json.dumps({"boot": "another", "keeper": me, "child": me}))
    bench.runtime.start(run.name)
    bench.runtime.stop(run.name, force=True)  # would end this test
    assert bench.runtime.observe(run.name).state is RunState.EXITED
    bench.runtime.remove(run.name)
    assert bench.runtime.observe(run.name).state is RunState.GONE


def test_another_process_with_the_same_pid_is_not_the_run(bench: ProcessBench) -> None:
    run = bench.spec(Behaviour.SERVES)
    bench.runtime.create(run)
    path = bench.folder / "processes" / run.name / run_files.STATE
    stranger = {"pid": os.getpid(), "started": 1}
    path.write_text(json.dumps({"boot": run_files.boot_id(), "keeper": stranger, "child": stranger}))
    bench.runtime.stop(run.name, force=True)  # would end this test
    assert bench.runtime.observe(run.name).state is RunState.EXITED


def test_an_unreadable_state_is_unknown(bench: ProcessBench) -> None:
    run = bench.spec(Behaviour.SERVES)
    bench.runtime.create(run)
    path = bench.folder / "processes" / run.name / run_files.STATE
    path.write_text("{")
    assert bench.runtime.observe(run.name).state is RunState.UNKNOWN
    path.unlink()


FAMILY = """
import os, signal, sys, time
print("parent", flush=True)
told, tell = os.pipe()
for new_session in (False, True):
    if os.fork() == 0:
        if new_session:
            os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print(os.getpid(), flush=True)
        os.write(tell, b"!")
        time.sleep(600)
        os._exit(0)
    os.read(told, 1)  # or an early end of the parent would end a child that has said nothing yet
"""


def family(bench: ProcessBench, end: str) -> tuple[str, list[int]]:
    """A run with two children that ignore SIGTERM, one of them in a session of its own."""
    name = run_program(bench, FAMILY + end)
    wait_for(lambda: len(all_lines(bench.runtime, name)) == 3, "the family")
    return name, [int(line.text) for line in all_lines(bench.runtime, name) if line.text.isdigit()]


def test_force_ends_grandchildren_in_other_sessions_too(bench: ProcessBench) -> None:
    name, children = family(bench, "time.sleep(600)")
    bench.runtime.stop(name, force=True)
    assert wait_for_state(bench.runtime, name, RunState.EXITED).exit_code == -9
    assert not any(is_alive(pid) for pid in children)


def test_a_run_has_ended_only_when_what_it_left_behind_is_gone(bench: ProcessBench) -> None:
    name, children = family(bench, "sys.exit(4)")
    assert len(children) == 2
    assert wait_for_state(bench.runtime, name, RunState.EXITED).exit_code == 4
    assert not any(is_alive(pid) for pid in children)


def test_removing_ends_what_outlived_both_process_and_keeper(bench: ProcessBench) -> None:
    name, children = family(bench, "time.sleep(600)")
    pid = bench.runtime.observe(name).pid
    assert pid
    kill(keeper_pid(bench, name))
    kill(pid)
    bench.runtime.remove(name)
    assert not any(is_alive(child) for child in children)


#: A keeper on a host where nothing dies, as when a driver holds processes in the kernel.
POWERLESS_KEEPER = """
import sys
sys.path.insert(0, sys.argv[1])
from deployments.runtimes import keeper, run_files
run_files.kill = lambda pids, number: None
keeper.STRAGGLER_GRACE_S = keeper.STUCK_S = 0.05
sys.exit(keeper.main(sys.argv[2]))
"""


def test_what_cannot_be_killed_does_not_hold_the_keeper_for_ever(
    bench: ProcessBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_run, "KEEPER", POWERLESS_KEEPER)
    name, children = family(bench, "sys.exit(4)")
    keeper = keeper_pid(bench, name)
    ended = wait_for_state(bench.runtime, name, RunState.EXITED)
    assert ended.exit_code == 4
    assert all(str(child) in ended.detail for child in children)
    assert all_lines(bench.runtime, name)[-1].stream == "berth"
    wait_for(lambda: not is_alive(keeper), "the keeper to leave")


def test_a_run_whose_processes_cannot_be_killed_is_not_removed_yet(
    bench: ProcessBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name, children = family(bench, "time.sleep(600)")
    pid = bench.runtime.observe(name).pid
    assert pid
    kill(keeper_pid(bench, name))
    kill(pid)
    with monkeypatch.context() as patch:
        patch.setattr(run_files, "kill", lambda _pids, _number: None)
        patch.setattr(process, "STUCK_S", 0.05)
        with pytest.raises(RuntimeFaultError) as caught:
            bench.runtime.remove(name)
    assert caught.value.code == "still_running"
    assert all(str(child) in str(caught.value) for child in children)
    assert f"{name} cannot be removed" in caplog.text
    assert list(bench.runtime.owned()) == [name]
    bench.runtime.remove(name)
    assert list(bench.runtime.owned()) == []


def test_a_process_whose_output_is_closed_still_runs(bench: ProcessBench) -> None:
    name = run_program(bench, "import os, time; print('bye', flush=True); os.close(1); os.close(2); time.sleep(600)")
    wait_for(lambda: len(all_lines(bench.runtime, name)) == 1, "its last words")
    assert bench.runtime.observe(name).state is RunState.RUNNING


def test_nothing_of_berths_environment_reaches_the_process(
    bench: ProcessBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://user:secret@host/db")
    monkeypatch.setenv("BERTH_ADMIN_PASSWORD", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    name = run_program(bench, "import os\nfor name in sorted(os.environ): print(name)", OMP_NUM_THREADS="2")
    wait_for_state(bench.runtime, name, RunState.EXITED)
    assert [line.text for line in all_lines(bench.runtime, name)] == [
        "CUDA_VISIBLE_DEVICES",
        "HOME",
        run_files.MARK,
        "LANG",
        *(["LC_CTYPE"] if "LC_CTYPE" in {line.text for line in all_lines(bench.runtime, name)} else []),
        "OMP_NUM_THREADS",
        "PATH",
        "TMPDIR",
    ]


def test_secrets_leave_the_disk_when_the_process_has_them(bench: ProcessBench) -> None:
    code = "import os, time; print(len(os.environ['TOKEN']), flush=True); time.sleep(600)"
    name = run_program(bench, code, TOKEN="hush-hush")
    wait_for(lambda: bool(all_lines(bench.runtime, name)), "the output")
    assert all_lines(bench.runtime, name)[0].text == "9"
    files = [path for path in (bench.folder / "processes" / name).rglob("*") if path.is_file()]
    assert not any(b"hush-hush" in path.read_bytes() for path in files)


def test_stdout_and_stderr_are_told_apart(bench: ProcessBench) -> None:
    name = run_program(bench, "import sys; print('good'); print('bad', file=sys.stderr)")
    wait_for_state(bench.runtime, name, RunState.EXITED)
    assert {(line.stream, line.text) for line in all_lines(bench.runtime, name)} == {("out", "good"), ("err", "bad")}


def test_port_and_image_are_filled_in(bench: ProcessBench) -> None:
    run = bench.program("import sys, os; print(sys.argv[1], os.environ['AT'])", AT="at {port}")
    bench.runtime.create(RunSpec(**{**vars(run), "argv": (*run.argv, "--port={port}")}))
    bench.runtime.start(run.name)
    wait_for_state(bench.runtime, run.name, RunState.EXITED)
    port = noted(bench, run.name, run_files.RUN)["port"]
    assert all_lines(bench.runtime, run.name)[0].text == f"--port={port} at {port}"


def test_no_two_runs_get_the_same_port(bench: ProcessBench, monkeypatch: pytest.MonkeyPatch) -> None:
    # The same place to begin at each time: only what is written down keeps them apart.
    monkeypatch.setattr("deployments.runtimes.ports.secrets.randbelow", lambda _most: 0)
    runs = [bench.spec(Behaviour.SERVES) for _ in range(3)]
    for run in runs:
        bench.runtime.create(run)
    assert len({noted(bench, run.name, run_files.RUN)["port"] for run in runs}) == 3


def test_what_a_killed_creator_left_behind_is_cleared(bench: ProcessBench) -> None:
    run = bench.spec(Behaviour.SERVES)
    half = bench.folder / "processes" / f".new-{run.name}" / "work"
    half.mkdir(parents=True)
    assert list(bench.runtime.owned()) == []
    bench.runtime.create(run)
    assert list(bench.runtime.owned()) == [run.name]
    assert not half.exists()


def test_what_a_killed_remover_left_behind_is_cleared(bench: ProcessBench) -> None:
    half = bench.folder / "processes" / ".gone-run-0-abcd1234" / "log"
    half.mkdir(parents=True)
    bench.runtime.create(bench.spec(Behaviour.SERVES))
    assert not half.parent.exists()


def test_a_leftover_that_resists_hinders_nobody(
    bench: ProcessBench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (bench.folder / "processes" / ".gone-run-0-abcd1234").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", refuse_io)
        bench.runtime.create(bench.spec(Behaviour.SERVES))
    assert ".gone-run-0-abcd1234 could not be deleted" in caplog.text


def refuse_io(*_args: object, **_options: object) -> None:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize("broken", ["{", "[]", "{}", '{"port": null}'])
def test_a_run_with_a_broken_record_hinders_no_other_and_is_logged_once(
    bench: ProcessBench, caplog: pytest.LogCaptureFixture, broken: str
) -> None:
    folder = bench.folder / "processes" / "broken"
    folder.mkdir(parents=True)
    (folder / run_files.RUN).write_text(broken)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            bench.runtime.create(bench.spec(Behaviour.SERVES))
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == ["the port of broken is unknown"]
    assert list(bench.runtime.owned()) == ["broken", "run-1", "run-2"]
    (folder / run_files.RUN).unlink()


def test_a_short_write_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really_write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: really_write(handle, data[:5]))
    path = str(tmp_path / "file.json")
    run_files.write_json(path, {"port": 21000, "name": "run"})
    assert run_files.read_json(path) == {"port": 21000, "name": "run"}


def test_a_disk_that_fills_up_while_writing_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "file.json")
    run_files.write_json(path, {"port": 21000})
    really_write = os.write

    def fills_up(handle: int, data: bytes) -> int:
        if os.fstat(handle).st_size:
            raise OSError(28, "No space left on device")
        return really_write(handle, data[:5])

    monkeypatch.setattr(os, "write", fills_up)
    with pytest.raises(OSError, match="No space"):
        run_files.write_json(path, {"port": 21001})
    assert run_files.read_json(path) == {"port": 21000}


@pytest.mark.parametrize("command", ["no-such-command", "/no/such/command", "./relative", ""])
def test_a_missing_command_is_refused_and_leaves_nothing(bench: ProcessBench, command: str) -> None:
    with pytest.raises(LaunchError) as caught:
        bench.runtime.create(RunSpec(name="run", image="none", argv=(command,)))
    assert caught.value.code == "command_not_found"
    assert list(bench.runtime.owned()) == []


def test_a_command_that_vanishes_between_create_and_start_is_refused(bench: ProcessBench, tmp_path: Path) -> None:
    command = tmp_path / "command"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    bench.runtime.create(RunSpec(name="run", image="none", argv=(str(command),)))
    command.unlink()
    for _ in range(2):
        with pytest.raises(LaunchError) as caught:
            bench.runtime.start("run")
        assert caught.value.code == "command_not_found"
    assert bench.runtime.observe("run").state is RunState.EXITED


def test_a_file_that_is_no_program_is_refused(bench: ProcessBench, tmp_path: Path) -> None:
    command = tmp_path / "command"
    command.write_bytes(b"\0not a program")
    command.chmod(0o755)
    bench.runtime.create(RunSpec(name="run", image="none", argv=(str(command),)))
    with pytest.raises(LaunchError) as caught:
        bench.runtime.start("run")
    assert caught.value.code == "launch_refused"


@pytest.mark.parametrize("name", ["../escape", ".hidden", "a/b", ""])
def test_a_name_that_is_no_file_name_is_refused(bench: ProcessBench, name: str) -> None:
    with pytest.raises(LaunchError):
        bench.runtime.create(RunSpec(name=name, image="none", argv=("true",)))


def test_volumes_are_refused(bench: ProcessBench) -> None:
    with pytest.raises(LaunchError) as caught:
        bench.runtime.create(RunSpec(name="run", image="none", argv=("true",), volumes=("cache:/cache",)))
    assert caught.value.code == "volumes_unsupported"


def test_a_full_disk_is_no_fault_of_the_config(bench: ProcessBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: str, data: object) -> None:
        raise OSError(28, "No space left on device", path)

    with monkeypatch.context() as patch:
        patch.setattr(run_files, "write_json", full)
        with pytest.raises(RuntimeUnavailableError) as caught:
            bench.runtime.create(bench.spec(Behaviour.SERVES))
    assert caught.value.code == "no_disk_space"
    assert list(bench.runtime.owned()) == []
    launch(bench, Behaviour.SERVES)


def test_a_keeper_is_small(bench: ProcessBench) -> None:
    name = launch(bench, Behaviour.SERVES)
    status = Path(f"/proc/{keeper_pid(bench, name)}/status").read_text()
    resident_kib = int(status.partition("VmRSS:")[2].split()[0])
    assert resident_kib < 12 * 1024


def test_removal_leaves_no_file_and_no_process(bench: ProcessBench) -> None:
    name = launch(bench, Behaviour.EXITS_WITH_3)
    keeper = keeper_pid(bench, name)
    wait_for_state(bench.runtime, name, RunState.EXITED)
    bench.runtime.remove(name)
    assert [path.name for path in (bench.folder / "processes").iterdir()] == [".create.lock"]
    wait_for(lambda: not is_alive(keeper), "the keeper to leave")


def test_runs_of_another_data_folder_are_not_owned(bench: ProcessBench, tmp_path: Path) -> None:
    launch(bench, Behaviour.SERVES)
    assert list(ProcessRuntime(tmp_path / "elsewhere").owned()) == []
