"""The worker process as the panel relies on it: it never makes the panel wait, and it never outlives its use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from BiPVLSegPanel import workerprocess
from BiPVLSegPanel.workerprocess import (
    WorkerProcess,
    slicerPythonCommand,
    workerCommand,
    workerEnvironment,
    workerFolder,
)
from processes import MARK, kill_marked, marked_processes, new_mark
from python_slicer import write_launcher

from BiPVLSegLib.errors import InputError

ECHO = """
    import json, sys
    for line in sys.stdin:
        print(json.dumps({"event": "echo", "got": json.loads(line)}), flush=True)
"""
STUBBORN = """
    import signal, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print('{"event": "ready"}', flush=True)
    while True:
        time.sleep(1)
"""
WITH_CHILDREN = """
    import subprocess, sys, time
    code = "import time; time.sleep(600)"
    children = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    print('{"event": "ready"}', flush=True)
    time.sleep(600)
"""


@pytest.fixture
def mark(monkeypatch):
    """A mark in the environment; a test fails that leaves a process behind."""
    mark = new_mark()
    monkeypatch.setenv(MARK, mark)
    yield mark
    left = marked_processes(mark)
    kill_marked(mark)
    assert not left


@pytest.fixture
def start(tmp_path, mark):
    """Starts a Python program as a worker, optionally through a launcher as PythonSlicer is."""
    started = []

    def start(program: str, launcher: bool = False) -> WorkerProcess:
        python = str(write_launcher(tmp_path) / "PythonSlicer") if launcher else sys.executable
        worker = WorkerProcess([python, "-c", textwrap.dedent(program)], tmp_path, workerEnvironment())
        worker.start()
        started.append(worker)
        return worker

    yield start
    for worker in started:
        worker.kill()


def collect(worker: WorkerProcess, until: str, seconds: float = 20) -> list[dict]:
    """Events up to the first with this name."""
    events, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        events += worker.events()
        if any(event["event"] == until for event in events):
            return events
        time.sleep(0.005)
    raise AssertionError(f"no {until!r} in {events}")


def seconds_of(function) -> float:
    started = time.monotonic()
    function()
    return time.monotonic() - started


def test_requests_go_there_and_events_come_back_in_order(start):
    worker = start(ECHO)
    requests = [{"command": "segment", "folder": "Ärzte 心", "id": str(n)} for n in range(300)]
    for request in requests:
        worker.send(request)
    events = []
    while len(events) < len(requests):
        events += collect(worker, "echo")
    assert [event["got"] for event in events] == requests
    assert worker.alive and worker.pid


def test_nothing_waits_even_when_the_worker_does_not_read(start):
    """More than a pipe holds is sent to a worker that reads nothing."""
    worker = start(STUBBORN)
    assert seconds_of(lambda: [worker.send({"text": "x" * 1000}) for _ in range(1000)]) < 0.05
    collect(worker, "ready")
    assert seconds_of(worker.events) < 0.05
    assert seconds_of(worker.kill) < 0.05
    assert collect(worker, "exit")[-1]["code"] == -signal.SIGKILL


def test_what_is_no_event_is_a_line_of_the_log(start):
    worker = start(
        """
        import os, sys
        os.write(1, b'{"event": "ready"}\\nhello\\n[1]\\n{"no": 1}\\n{"event": 5}\\n{"event": "exit", "code": 0}\\n')
        os.write(1, b'\\xff\\xfe\\n' + b'{' * 100000 + b'\\n\\n  \\n' + b'10%\\r50%\\r100%\\n')
        os.write(1, b'[' * 3000000)
        os.write(1, b'\\n{"event": "note", "message": "\\xc3\\xbc"}')
        os.write(2, b'Traceback\\n')
        """
    )
    events = collect(worker, "exit")
    assert events[0] == {"event": "ready"}
    assert {"event": "note", "message": "ü"} in events
    lines = [event["line"] for event in events if event["event"] == "log"]
    for line in ("hello", "[1]", '{"no": 1}', '{"event": 5}', "Traceback", "100%", "\ufffd\ufffd"):
        assert line in lines
    assert [event for event in events if event["event"] == "exit"] == [events[-1]] == [{"event": "exit", "code": 0}]


def test_a_flood_of_lines_does_not_fill_the_memory(start):
    worker = start("while True: print('x' * 100)")
    time.sleep(1)
    events = worker.events()
    assert 0 < len(events) <= workerprocess.MOST_LOG_LINES + 2
    worker.kill()
    collect(worker, "exit")


@pytest.mark.parametrize("code", [0, 3])
def test_the_end_of_the_process_is_the_last_event(start, code):
    worker = start(f"import sys; print('{{\"event\": \"done\"}}'); print('bye'); sys.exit({code})")
    events = collect(worker, "exit")
    assert events == [{"event": "done"}, {"event": "log", "line": "bye"}, {"event": "exit", "code": code}]
    assert not worker.alive
    worker.send({"command": "segment"})
    worker.kill()
    worker.close()
    time.sleep(0.1)
    assert worker.events() == []


def test_killed_from_outside(start):
    worker = start(STUBBORN)
    collect(worker, "ready")
    os.kill(worker.pid, signal.SIGKILL)
    assert collect(worker, "exit", 1)[-1]["code"] == -signal.SIGKILL


@pytest.mark.parametrize("launcher", [False, True], ids=["direct", "launcher"])
@pytest.mark.parametrize("program", [STUBBORN, WITH_CHILDREN], ids=["stubborn", "children"])
def test_kill_ends_the_whole_tree_within_a_second(start, mark, program, launcher):
    worker = start(program, launcher)
    collect(worker, "ready")
    wanted, started = 1 + launcher + 2 * (program is WITH_CHILDREN), time.monotonic()
    while len(marked_processes(mark, 0)) < wanted and time.monotonic() < started + 1:
        time.sleep(0.01)  # a child between fork and exec has no command line to be known by
    assert len(marked_processes(mark, 0)) == wanted
    assert seconds_of(worker.kill) < 0.05
    assert not marked_processes(mark, patience=1)
    collect(worker, "exit", 1)


def test_a_launcher_that_dies_alone_takes_its_child_along(start, mark):
    worker = start(WITH_CHILDREN, launcher=True)
    collect(worker, "ready")
    os.kill(worker.pid, signal.SIGKILL)
    assert not marked_processes(mark, patience=1)
    collect(worker, "exit", 1)


def test_close_is_polite_and_then_firm(start, mark, monkeypatch):
    monkeypatch.setattr(workerprocess, "CLOSE_SECONDS", 0.5)
    polite = start("import sys; print(sys.stdin.read(), end='')")
    assert seconds_of(polite.close) < 0.05
    assert collect(polite, "exit") == [
        {"event": "log", "line": '{"command": "quit"}'},
        {"event": "exit", "code": 0},
    ]
    stubborn = start(STUBBORN, launcher=True)
    collect(stubborn, "ready")
    assert seconds_of(stubborn.close) < 0.05
    assert stubborn.alive
    assert collect(stubborn, "exit", 2)[-1]["code"] == -signal.SIGKILL
    assert not marked_processes(mark, patience=1)


def test_program_that_is_not_there_raises(tmp_path):
    worker = WorkerProcess([tmp_path / "nothing"], tmp_path, workerEnvironment())
    with pytest.raises(OSError):
        worker.start()
    assert not worker.alive and worker.pid is None and worker.events() == []
    worker.kill()
    worker.close()


# ---- the real worker -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("launcher", [False, True], ids=["direct", "launcher"])
def test_real_worker_starts_answers_and_leaves(tmp_path, monkeypatch, mark, launcher):
    if launcher:
        folder = tmp_path / "Slicer für Ärzte"
        folder.mkdir()
        monkeypatch.setenv("PATH", f"{write_launcher(folder)}{os.pathsep}{os.environ['PATH']}")
    command = workerCommand(5)
    assert (command[0] == sys.executable) != launcher
    worker = WorkerProcess(command, workerFolder(), workerEnvironment())
    worker.start()
    ready = collect(worker, "ready")[-1]
    assert (ready["pid"] == worker.pid) != launcher
    worker.send({"command": "segment", "id": "7", "folder": str(tmp_path)})
    error = collect(worker, "error")[-1]
    assert error["id"] == "7" and "no job.json" in error["message"]
    worker.close()
    assert collect(worker, "exit", 1.5)[-1]["code"] == 0  # by itself, before it would be killed


@pytest.mark.parametrize("launcher", [False, True], ids=["direct", "launcher"])
def test_real_worker_ends_when_its_application_is_killed(tmp_path, monkeypatch, mark, launcher):
    """A stand-in of Slicer starts the worker and is killed, so that nobody closes anything."""
    if launcher:
        monkeypatch.setenv("PATH", f"{write_launcher(tmp_path)}{os.pathsep}{os.environ['PATH']}")
    code = """
        import sys, time
        sys.path[:0] = sys.argv[1:]
        from BiPVLSegPanel.workerprocess import *
        worker = WorkerProcess(workerCommand(5), workerFolder(), workerEnvironment())
        worker.start()
        while not worker.events():
            time.sleep(0.01)
        print("ready", flush=True)
        time.sleep(600)
    """
    folders = [str(workerFolder()), str(workerFolder() / "BiPVLSeg")]
    application = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *folders], stdout=subprocess.PIPE, text=True
    )
    assert application.stdout.readline() == "ready\n"
    assert len(marked_processes(mark, 0)) == 2 + launcher
    application.kill()
    application.wait()
    assert not marked_processes(mark, patience=1)
    application.stdout.close()


# ---- the command -----------------------------------------------------------------------------------------------------


def program(folder, name):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_python_of_slicer_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert slicerPythonCommand() == [sys.executable]
    launcher = program(tmp_path / "bin", "PythonSlicer")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert slicerPythonCommand() == [launcher]
    interpreter = program(tmp_path / "bin", "python-real")
    assert slicerPythonCommand() == [interpreter]
    assert workerCommand(3)[1:] == ["-m", "BiPVLSegLib", "serve", "--idle-minutes", "3"]


def test_application_without_python_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/opt/Slicer/bin/SlicerApp-real")
    with pytest.raises(InputError, match="PythonSlicer"):
        slicerPythonCommand()


def test_environment_is_that_of_slicer_in_utf8_and_offline(monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/slicer/lib")
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    environment = workerEnvironment()
    assert environment["LD_LIBRARY_PATH"] == "/slicer/lib" and "PYTHONSAFEPATH" not in environment
    for name in ("PYTHONUTF8", "PYTHONUNBUFFERED", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        assert environment[name] == "1"
