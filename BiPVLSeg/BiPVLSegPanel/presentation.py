"""What button, bar and status line show: a pure function of the state of the run and of what is missing. No Qt."""

from __future__ import annotations

from dataclasses import dataclass

from slicer.i18n import tr as _

from .estimate import describeSeconds
from .runstate import State

BUSY_BAR = (0, 0)  # a bar without an end, in Qt's terms
EMPTY_BAR = (0, 100)
SLOW_SECONDS = 120  # from here on it is said in words that there is time for something else


@dataclass(frozen=True)
class Presentation:
    """Everything about the run that the user sees or reads, ready to be put into the widgets.

    buttonText, buttonEnabled, buttonToolTip : of the one button that starts and cancels.
    barVisible, barRange, barValue, barFormat : of the progress bar; the range (0, 0) moves without an end.
    statusText : the line below; it alone says everything, without colours.
    inputsEnabled : whether volume, model, texts, region and options may be changed now.
    inputsReason : why not, or empty.
    """

    buttonText: str
    buttonEnabled: bool
    buttonToolTip: str
    barVisible: bool
    barRange: tuple[int, int]
    barValue: int
    barFormat: str
    statusText: str
    inputsEnabled: bool
    inputsReason: str


def present(run, missing: list[str]) -> Presentation:
    """Parameters: a ``RunState``, and the sentences that say what is missing for a run (empty: it can start)."""
    if run.busy:
        return _whileBusy(run)
    return _whileIdle(run, missing)


def _whileIdle(run, missing: list[str]) -> Presentation:
    if missing:
        toolTip = _("This is missing before the segmentation can start:") + "".join(f"\n- {text}" for text in missing)
        status = (
            missing[0]
            if len(missing) == 1
            else _("{first} (and {count} more)").format(first=missing[0], count=len(missing) - 1)
        )
    else:
        toolTip = _("Segments the volume with the model and the texts above (Ctrl+Return).")
        status = _("Ready.")
    if run.state is State.FAILED and run.message:
        failure = _("Failed: {reason}").format(reason=run.message)
        status = f"{failure}\n{status}" if missing else failure
    elif run.message and not missing:
        status = run.message
    return Presentation(
        buttonText=_("Segment with BiPVL"),
        buttonEnabled=not missing,
        buttonToolTip=toolTip,
        barVisible=False,
        barRange=EMPTY_BAR,
        barValue=0,
        barFormat="",
        statusText=status,
        inputsEnabled=True,
        inputsReason="",
    )


def _whileBusy(run) -> Presentation:
    counted = run.state is State.RUNNING and run.total > 0
    installing = run.state is State.INSTALLING
    if installing:
        reason = _("Packages are being installed; wait until that is done.")
    else:
        reason = _("A segmentation is running; wait for it or cancel it.")
    if run.cancellable:
        toolTip = _("Stops the segmentation at once (Ctrl+Return). The scene stays as it is.")
    elif run.state is State.CANCELLING:
        toolTip = _("The segmentation is being stopped.")
    else:
        toolTip = reason
    return Presentation(
        buttonText=_buttonTexts().get(run.state, _("Cancel")),
        buttonEnabled=run.cancellable,
        buttonToolTip=toolTip,
        barVisible=True,
        barRange=(0, run.total) if counted else BUSY_BAR,
        barValue=min(run.done, run.total) if counted else 0,
        barFormat=_progressText(run) if counted else "",
        statusText=run.message or _stateTexts().get(run.state, ""),
        inputsEnabled=False,
        inputsReason=reason,
    )


def _progressText(run) -> str:
    """For example: "12 of 40 windows, about 3 minutes left"."""
    windows = _("{done} of {total} windows").format(done=min(run.done, run.total), total=run.total)
    if run.secondsLeft is None or run.done >= run.total:
        return windows
    return _("{windows}, {time} left").format(windows=windows, time=describeSeconds(run.secondsLeft))


def _buttonTexts() -> dict:
    return {State.CANCELLING: _("Cancelling..."), State.INSTALLING: _("Segment with BiPVL")}


def _stateTexts() -> dict:
    return {
        State.INSTALLING: _("Installing packages..."),
        State.STARTING: _("Starting..."),
        State.RUNNING: _("Segmenting..."),
        State.IMPORTING: _("Putting the result into the scene..."),
        State.CANCELLING: _("Cancelling..."),
    }


def estimateText(seconds: float | None, windows: int, deviceText: str, onProcessor: bool) -> str:
    """How long a run will take, before it starts.

    Parameters: seconds expected (None: not known), windows to compute, what computes, and whether that is the
    processor and not a graphics card.
    """
    if seconds is None or windows <= 0:
        return ""
    text = _("Expected: {time} on {device}.").format(time=describeSeconds(seconds), device=deviceText)
    if seconds <= SLOW_SECONDS:
        return text
    text += " " + _("This is a long run. You can go on working in Slicer meanwhile, and cancel at any time.")
    advice = (
        _("A region makes it shorter, and so does a computer with a graphics card.")
        if onProcessor
        else _("A region makes it shorter.")
    )
    return f"{text} {advice}"
