"""What button, bar and status line say in each state, and that nothing else decides it."""

from __future__ import annotations

import pytest


@pytest.fixture
def presentation():
    from BiPVLSegPanel import presentation

    return presentation


@pytest.fixture
def run():
    from BiPVLSegPanel.runstate import RunState

    return RunState()


def to(run, *names: str, message: str = ""):
    from BiPVLSegPanel.runstate import State

    for name in names[:-1]:
        run.to(State[name])
    run.to(State[names[-1]], message)
    return run


WAYS = {
    "IDLE": [],
    "INSTALLING": ["INSTALLING"],
    "STARTING": ["STARTING"],
    "RUNNING": ["STARTING", "RUNNING"],
    "IMPORTING": ["STARTING", "RUNNING", "IMPORTING"],
    "CANCELLING": ["STARTING", "RUNNING", "CANCELLING"],
    "FAILED": ["STARTING", "FAILED"],
}
# state: text of the button, whether it can be pressed, whether the bar is there, whether the inputs can be changed
TABLE = {
    "IDLE": ("Segment with BiPVL", True, False, True),
    "INSTALLING": ("Segment with BiPVL", False, True, False),
    "STARTING": ("Cancel", True, True, False),
    "RUNNING": ("Cancel", True, True, False),
    "IMPORTING": ("Cancel", True, True, False),
    "CANCELLING": ("Cancelling...", False, True, False),
    "FAILED": ("Segment with BiPVL", True, False, True),
}


@pytest.mark.parametrize("state", WAYS)
def test_each_state_has_its_button_and_bar(presentation, run, state):
    if WAYS[state]:
        to(run, *WAYS[state])
    shown = presentation.present(run, [])
    assert (shown.buttonText, shown.buttonEnabled, shown.barVisible, shown.inputsEnabled) == TABLE[state]
    assert shown.statusText, "the status line says something in every state"
    assert shown.buttonToolTip
    assert bool(shown.inputsReason) is not shown.inputsEnabled, "whatever is disabled says why"


def test_every_state_is_in_the_table():
    from BiPVLSegPanel.runstate import State

    assert set(TABLE) == set(WAYS) == {state.name for state in State}


def test_the_disabled_button_says_all_that_is_missing(presentation, run):
    missing = ["Choose the volume to segment.", "Choose a model.", "No organ is checked."]
    shown = presentation.present(run, missing)
    assert not shown.buttonEnabled
    for sentence in missing:
        assert sentence in shown.buttonToolTip
    assert missing[0] in shown.statusText and "2" in shown.statusText


def test_one_missing_thing_stands_in_the_status_line_as_it_is(presentation, run):
    assert presentation.present(run, ["Choose a model."]).statusText == "Choose a model."


def test_windows_and_time_left_are_in_the_bar(presentation, run):
    to(run, "STARTING", "RUNNING")
    run.progress(12, 40, 181.0)
    shown = presentation.present(run, [])
    assert shown.barRange == (0, 40) and shown.barValue == 12
    assert "12 of 40 windows" in shown.barFormat and "minutes" in shown.barFormat and "left" in shown.barFormat


def test_no_time_is_promised_that_is_not_known(presentation, run):
    to(run, "STARTING", "RUNNING")
    run.progress(1, 40, None)
    assert presentation.present(run, []).barFormat == "1 of 40 windows"


def test_a_bar_without_known_length_moves_without_end(presentation, run):
    for state in ("STARTING", "RUNNING", "CANCELLING"):
        to(run, state)
        assert presentation.present(run, []).barRange == (0, 0)


def test_what_is_missing_does_not_matter_during_a_run(presentation, run):
    to(run, "STARTING")
    assert presentation.present(run, ["Choose a model."]).buttonEnabled


def test_a_failure_is_said_in_words_and_the_button_works_again(presentation, run):
    to(run, "STARTING", "FAILED", message="The computer's memory is full; crop the volume.")
    shown = presentation.present(run, [])
    assert shown.statusText == "Failed: The computer's memory is full; crop the volume."
    assert shown.buttonEnabled


def test_what_is_missing_is_said_beside_a_failure(presentation, run):
    to(run, "STARTING", "FAILED", message="The region is empty.")
    assert presentation.present(run, ["Choose a model."]).statusText == "Failed: The region is empty.\nChoose a model."


def test_the_result_of_the_last_run_stays_in_the_status_line(presentation, run):
    to(run, "STARTING", "RUNNING", "IMPORTING", "IDLE", message="3 organs in 12 seconds.")
    assert presentation.present(run, []).statusText == "3 organs in 12 seconds."
    assert presentation.present(run, ["Choose a model."]).statusText == "Choose a model."


def test_a_long_run_is_announced_in_clear_words(presentation):
    short = presentation.estimateText(119.0, 10, "cuda:0", False)
    long = presentation.estimateText(700.0, 10, "the processor", True)
    assert "long run" not in short and "cuda:0" in short
    assert "long run" in long and "cancel at any time" in long and "graphics card" in long and "the processor" in long
    assert "graphics card" not in presentation.estimateText(700.0, 10, "cuda:0", False)
    assert presentation.estimateText(None, 10, "cuda:0", False) == ""
