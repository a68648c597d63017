"""The one object that says what the module is doing."""

from __future__ import annotations

import subprocess
import sys

import pytest
from BiPVLSegPanel.runstate import LOG_LINES, RunState, State

IDLE, INSTALLING, STARTING, RUNNING = State.IDLE, State.INSTALLING, State.STARTING, State.RUNNING
IMPORTING, CANCELLING, FAILED = State.IMPORTING, State.CANCELLING, State.FAILED
ALLOWED = {
    IDLE: {INSTALLING, STARTING},
    INSTALLING: {IDLE, FAILED},
    STARTING: {RUNNING, IMPORTING, CANCELLING, FAILED},
    RUNNING: {IMPORTING, CANCELLING, FAILED},
    IMPORTING: {IDLE, CANCELLING, FAILED},
    CANCELLING: {IDLE, FAILED},
    FAILED: {IDLE, INSTALLING, STARTING},
}


def in_state(state: State) -> RunState:
    run = RunState()
    run.state = state
    return run


@pytest.mark.parametrize("start", State)
@pytest.mark.parametrize("goal", State)
def test_only_these_ways_lead_on(start, goal):
    run = in_state(start)
    if goal is start or goal in ALLOWED[start]:
        run.to(goal, "why")
        assert run.state is goal and run.message == "why"
    else:
        with pytest.raises(ValueError, match=f"{start.name} to {goal.name}"):
            run.to(goal, "why")
        assert run.state is start and run.message == "" and run.log == []


@pytest.mark.parametrize("state", State)
def test_busy_and_cancellable(state):
    run = in_state(state)
    assert run.busy == (state not in (IDLE, FAILED))
    assert run.cancellable == (state in (STARTING, RUNNING, IMPORTING))


def test_listeners_hear_of_every_change_until_they_are_removed():
    run, heard = RunState(), []
    remove = run.addListener(lambda state: heard.append((state.state, state.message, state.done, state.total)))
    run.to(STARTING, "start")
    run.to(RUNNING)
    run.progress(2, 8, 12.5, "windows")
    run.note("line")
    remove()
    remove()
    run.progress(3, 8)
    assert heard == [
        (STARTING, "start", 0, 0),
        (RUNNING, "", 0, 0),
        (RUNNING, "windows", 2, 8),
        (RUNNING, "windows", 2, 8),
    ]
    assert run.log == ["start", "windows", "line"]


def test_a_listener_that_fails_does_not_keep_the_others_from_hearing(caplog):
    run, heard = RunState(), []
    run.addListener(lambda state: 1 / 0)
    run.addListener(lambda state: heard.append(state.state))
    run.to(STARTING)
    assert heard == [STARTING] and "ZeroDivisionError" in caplog.text


def test_progress_of_the_last_run_is_forgotten():
    run = RunState()
    for state in (STARTING, RUNNING):
        run.to(state)
    run.progress(5, 9, 3.0)
    run.to(IMPORTING)
    assert (run.done, run.total) == (5, 9), "the bar stays full while the result is put into the scene"
    run.to(IDLE)
    run.to(STARTING)
    assert (run.done, run.total, run.secondsLeft) == (0, 0, None)


def test_the_log_keeps_the_newest_lines():
    run = RunState()
    for number in range(LOG_LINES + 5):
        run.note(f"line {number}")
    assert len(run.log) == LOG_LINES and run.log[0] == "line 5"


def test_no_torch_for_the_logic(slicer_app):
    """Nothing heavy is imported by importing all that the logic needs."""
    names = "runstate segmentationrun logic results sequences regions estimate".split()
    code = (
        "import sys; sys.path[:0] = {path!r}\n"
        "import standins.session\n"
        f"for name in {names!r}: __import__('BiPVLSegPanel.' + name)\n"
        "heavy = {{'torch', 'monai', 'transformers', 'scipy', 'nibabel'}} & set(sys.modules)\n"
        "assert not heavy, heavy"
    ).format(path=sys.path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
