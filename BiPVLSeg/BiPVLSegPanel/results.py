"""From an answer of the worker to what the user sees: segments, a table, probability volumes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from BiPVLSegLib.errors import InputError
from BiPVLSegLib.results import SegmentationResult
from BiPVLSegLib.slicer import layer_images, result_to_segmentation
from BiPVLSegLib.worker.job import read_answer

from .probabilities import addProbabilityVolumes, probabilityImages
from .request import SegmentationRequest, requireOutput
from .resulttable import Row, fillTable, remarkedOrgans, tableOf, unsureOf
from .sequences import Frame, SegmentationSequence, browserOf, indexValueOf, rememberFrame
from .surfaces import makeSurfaces
from .undo import saveForUndo
from .volumesnapshot import VolumeSnapshot

__all__ = ["Outcome", "PreparedFrame", "importFrames", "prepareFrame", "tableOf", "unsureOf"]


@dataclass
class Outcome:
    """What a finished run gave.

    ``volumesMl``, ``meanIntensity`` and ``confidence`` are by organ name; where all frames were segmented, they are of the
    frame that is shown, and the table has the others. A mean or confidence is None where the organ was not found.
    ``unsure`` names the organs that a person should look at. ``info`` tells how the result came about.
    """

    segmentationNode: Any
    segmentIds: dict[str, str]
    tableNode: Any
    probabilityNodes: list = field(default_factory=list)
    sequenceNode: Any = None
    volumesMl: dict[str, float] = field(default_factory=dict)
    meanIntensity: dict[str, float | None] = field(default_factory=dict)
    confidence: dict[str, float | None] = field(default_factory=dict)
    unsure: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class PreparedFrame:
    """An answer with all of its large arrays in VTK's hands, made in a thread. The scene knows nothing of it yet."""

    frame: Frame
    result: SegmentationResult
    images: list
    volumesMl: dict[str, float]
    meanIntensity: dict[str, float | None]
    probabilities: dict[str, Any]

    @property
    def confidence(self) -> dict[str, float | None]:
        return {name: self.result.confidence.get(name) for name in self.result.concepts.names}

    def remark(self, name: str) -> str:
        """What the table says of an organ: nothing where all is well."""
        if self.confidence[name] is None:
            return _("not found")
        return _("unsure") if self.result.is_unsure(name) else ""

    def rows(self) -> list[Row]:
        return [
            Row(self.frame.indexValue, name, self.volumesMl[name], self.meanIntensity.get(name), confidence,
                self.remark(name))
            for name, confidence in self.confidence.items()
        ]  # fmt: skip


def prepareFrame(frame: Frame, folder: str | Path) -> PreparedFrame:
    """Reads the answer in a job folder. For a thread: it touches neither the scene nor Qt.

    Raises
    ------
    InputError
        There is no answer, or it is damaged.
    """
    answer = read_answer(folder)
    result = answer.result
    probabilities = probabilityImages(result)
    result.probabilities = None  # mapped: it would keep the file from being deleted
    return PreparedFrame(
        frame, result, layer_images(result), result.volumes_ml(), dict(answer.mean_intensity), probabilities
    )


def importFrames(
    request: SegmentationRequest, prepared: list[PreparedFrame], snapshot: VolumeSnapshot
) -> Iterator[str]:
    """Puts the answers into the scene, all or nothing. A generator, so that Slicer can breathe: it yields what it is about
    to do, as a sentence, and returns the ``Outcome``. At each yield the scene is still as it was.

    Raises
    ------
    InputError
        The volume or the output was changed meanwhile so that the result does not fit.
    """
    shown = _shownFrame(request, prepared)
    notes = _notes(request, prepared, snapshot)
    staged = yield from _staged(request, prepared)
    surfaces = yield from makeSurfaces(request, prepared, staged)
    if request.outputNode is not None:
        requireOutput(request.volumeNode, request.outputNode, request.intoSequence, shown.result.concepts.names)
    flagged = remarkedOrgans(tableOf(request.outputNode), shown.frame.indexValue)
    saveForUndo(request.outputNode, tableOf(request.outputNode), _sequenceToUpdate(request))
    if staged is None:
        node, ids = result_to_segmentation(
            shown.result, request.volumeNode, request.outputNode, request.scene, shown.images, surfaces
        )
        sequence = None
        rememberFrame(node, shown.frame)
        _flagUnsure(node, ids, shown, flagged)
    else:
        node, sequence = staged.commit()
        ids = staged.segmentIds[shown.frame.indexValue]
    if request.show3D and node.GetDisplayNode() is not None:
        node.GetDisplayNode().SetVisibility3D(True)
    table = fillTable(request, node, [row for part in prepared for row in part.rows()])
    volumes = addProbabilityVolumes(request.volumeNode, node, shown.probabilities)
    unsure = [name for name in ids if any(part.remark(name) for part in prepared)]
    return Outcome(
        segmentationNode=node,
        segmentIds=ids,
        tableNode=table,
        probabilityNodes=volumes,
        sequenceNode=sequence,
        volumesMl=shown.volumesMl,
        meanIntensity=shown.meanIntensity,
        confidence=shown.confidence,
        unsure=unsure,
        notes=notes,
        info=dict(shown.result.info),
    )


def _shownFrame(request: SegmentationRequest, prepared: list[PreparedFrame]) -> PreparedFrame:
    """The frame whose numbers are told in a word: the one that the browser shows, or the first."""
    now = "" if request.browser is None else indexValueOf(request.browser, request.volumeNode)
    return next((part for part in prepared if part.frame.indexValue == now), prepared[0])


def _notes(request: SegmentationRequest, prepared: list[PreparedFrame], snapshot: VolumeSnapshot) -> list[str]:
    """What the worker remarked, each thing once, and what happened to the volume meanwhile."""
    notes = list(dict.fromkeys(note for part in prepared for note in part.result.info.get("notes", [])))
    if len(request.frames) > 1:
        return notes
    frame = prepared[0].frame
    isFrame = request.browser is not None and browserOf(request.volumeNode) is request.browser
    if isFrame and indexValueOf(request.browser, request.volumeNode) != frame.indexValue:
        notes.append(
            _("The segmentation is that of frame {number}; another frame is shown now.").format(number=frame.number + 1)
        )
    elif not snapshot.isCurrent(request.volumeNode):
        notes.append(
            _("'{name}' was changed during the run; the segmentation is that of the volume as it was before.").format(
                name=request.volumeName
            )
        )
    return notes


def _staged(request: SegmentationRequest, prepared: list[PreparedFrame]) -> Iterator[str]:
    """Returns the segmentation sequence, complete but outside of the scene; None where the result is a single one."""
    if not request.intoSequence:
        return None
    if request.browser is None or request.browser.GetSequenceNode(request.volumeNode) is None:
        raise InputError(_("'{name}' was taken out of its sequence; segment it again.").format(name=request.volumeName))
    staged = SegmentationSequence(request.volumeNode, request.outputNode)
    for number, part in enumerate(prepared):
        yield _("Putting the frames together ({done} of {count})...").format(done=number, count=len(prepared))
        node = staged.add(part.frame, part.result, part.images)
        flagged = remarkedOrgans(tableOf(request.outputNode), part.frame.indexValue)
        _flagUnsure(node, staged.segmentIds[part.frame.indexValue], part, flagged)
    return staged


def _sequenceToUpdate(request: SegmentationRequest):
    if not request.intoSequence or request.outputNode is None:
        return None
    return request.browser.GetSequenceNode(request.outputNode)


def _flagUnsure(segmentationNode, ids: dict[str, str], part: PreparedFrame, before: set[str]) -> None:
    """Marks segments as Slicer's segment list shows it. Marks of an earlier run (of the organs ``before``) are taken back,
    those of a person stay."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    for name, identifier in ids.items():
        segment = segmentationNode.GetSegmentation().GetSegment(identifier)
        if part.result.is_unsure(name):
            logic.SetSegmentStatus(segment, logic.Flagged)
        elif name in before and logic.GetSegmentStatus(segment) == logic.Flagged:
            logic.SetSegmentStatus(segment, logic.NotStarted)
