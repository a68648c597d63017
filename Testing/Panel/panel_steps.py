"""Steps that several tests of the whole panel take."""

from __future__ import annotations

import time

import slicer.util

SECOND_CLICK = 0.5  # from here on it is no double click
START_SECONDS = 120  # a busy machine takes long to import torch


def segmentations() -> list:
    """All segmentation nodes of the scene."""
    return slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def run(panel) -> None:
    """Presses the button and waits for the end, and until another press is no double click."""
    started = time.monotonic()
    panel.click("segmentButton")
    assert panel.logic.runState.busy, panel.text("statusLabel")
    panel.wait_for_run(START_SECONDS)
    panel.process_events(max(0.0, SECOND_CLICK - (time.monotonic() - started)))


def until_running(panel) -> None:
    """Presses the button and waits until the worker is at work, which is the longest part of a run."""
    panel.click("segmentButton")
    panel.process_events(SECOND_CLICK)
    state = panel.logic.runState
    panel.wait_until(lambda: state.state.name == "RUNNING" or not state.busy, START_SECONDS)
    assert state.busy, panel.text("statusLabel")
