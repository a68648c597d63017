"""Volumes that are one frame of a sequence: reading all frames, and writing a segmentation for each.

The browser is never moved: frames are read from the data nodes of the sequence, and the segmentations are put together
outside of the scene until all of them are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import slicer
from slicer.i18n import tr as _

from BiPVLSegLib.errors import InputError
from BiPVLSegLib.slicer import place_beside, result_to_segmentation

_FRAME = "BiPVLSeg.frame"  # attribute of a single segmentation: the index value of the frame that it was made of


@dataclass(frozen=True)
class Frame:
    """A volume to segment: ``volumeNode`` has its voxels; ``indexValue`` and ``number`` (from 0) tell where in the sequence
    it belongs, "" and 0 for a volume that is in none."""

    volumeNode: Any
    indexValue: str = ""
    number: int = 0


def browserOf(node):
    """The sequence browser that the node is a proxy of (it shows the selected frame), or None."""
    scene = node.GetScene() if node is not None else None
    if scene is None:
        return None
    for number in range(scene.GetNumberOfNodesByClass("vtkMRMLSequenceBrowserNode")):
        browser = scene.GetNthNodeByClass(number, "vtkMRMLSequenceBrowserNode")
        if browser.GetSequenceNode(node) is not None:
            return browser
    return None


def frameCount(volumeNode) -> int:
    """How many frames the sequence of a volume has; 1 where it is in none."""
    browser = browserOf(volumeNode)
    return 1 if browser is None else browser.GetSequenceNode(volumeNode).GetNumberOfDataNodes()


def currentFrame(volumeNode) -> Frame:
    """The frame that is shown, with the voxels of the volume node itself."""
    browser = browserOf(volumeNode)
    if browser is None:
        return Frame(volumeNode)
    return Frame(volumeNode, indexValueOf(browser, volumeNode), max(_itemShown(browser, volumeNode), 0))


def allFrames(volumeNode) -> list[Frame]:
    """All frames, with the voxels of the sequence's data nodes.

    Raises
    ------
    InputError
        The volume is in no sequence, or the sequence is empty.
    """
    browser = browserOf(volumeNode)
    if browser is None:
        raise InputError(
            _("'{name}' is not part of a sequence, so there is one frame only; segment the current frame.").format(
                name=volumeNode.GetName()
            )
        )
    sequence = browser.GetSequenceNode(volumeNode)
    count = sequence.GetNumberOfDataNodes()
    if count == 0:
        raise InputError(_("The sequence '{name}' has no frames; load it again.").format(name=sequence.GetName()))
    values = _indexValues(browser, sequence)
    return [Frame(sequence.GetNthDataNode(n), values[n], n) for n in range(count)]


def indexValueOf(browser, volumeNode) -> str:
    """The index value in the browser of the frame that a volume shows; "" where it shows none."""
    number = _itemShown(browser, volumeNode)
    return "" if number < 0 else _indexValues(browser, browser.GetSequenceNode(volumeNode))[number]


def _indexValues(browser, sequence) -> list[str]:
    """The first index value at which the browser shows each item of a sequence: where two sequences have other times, Slicer
    goes by those of the master. An item that is never shown has its own."""
    master = browser.GetMasterSequenceNode()
    values = {}
    if master is not None and master is not sequence:
        for number in range(master.GetNumberOfDataNodes()):
            value = master.GetNthIndexValue(number)
            values.setdefault(sequence.GetItemNumberFromIndexValue(value, False), value)
    return [values.get(n, sequence.GetNthIndexValue(n)) for n in range(sequence.GetNumberOfDataNodes())]


def _itemShown(browser, volumeNode) -> int:
    """Which item of its own sequence a volume shows, -1 for none. Slicer looks it up by the index value that is selected in the
    browser's master sequence, and takes the nearest one before where the two differ."""
    number, master = browser.GetSelectedItemNumber(), browser.GetMasterSequenceNode()
    sequence = browser.GetSequenceNode(volumeNode)
    if sequence is None or master is None or not 0 <= number < master.GetNumberOfDataNodes():
        return -1
    return sequence.GetItemNumberFromIndexValue(master.GetNthIndexValue(number), False)


def rememberFrame(segmentationNode, frame: Frame) -> None:
    """Notes in a single segmentation which frame it was made of, if of any."""
    segmentationNode.SetAttribute(_FRAME, frame.indexValue or None)


def isOfAnotherFrame(segmentationNode, volumeNode) -> bool:
    """Whether a single segmentation was made of a frame of the volume that is not the one shown now."""
    if segmentationNode is None or browserOf(segmentationNode) is not None:
        return False
    made = segmentationNode.GetAttribute(_FRAME)
    return bool(made) and made != currentFrame(volumeNode).indexValue


def requireSameTransform(volumeNode, segmentationNode) -> None:
    """Raises InputError where a segmentation sequence and the volumes are under different transforms."""
    if segmentationNode.GetParentTransformNode() is not volumeNode.GetParentTransformNode():
        raise InputError(
            _("'{segmentation}' and '{volume}' are under different transforms; put both under the same one.").format(
                segmentation=segmentationNode.GetName(), volume=volumeNode.GetName()
            )
        )


class SegmentationSequence:
    """A segmentation for each of some frames of a volume; nothing is in the scene before ``commit``.

    Parameters
    ----------
    volumeNode : the proxy of the volume sequence.
    outputNode : the proxy of the segmentation sequence to update, in the same browser; None makes a new one.
    """

    def __init__(self, volumeNode, outputNode=None) -> None:
        self.volumeNode = volumeNode
        self.outputNode = outputNode
        self.browser = browserOf(volumeNode)
        volumes = self.browser.GetSequenceNode(volumeNode)
        self.existing = None if outputNode is None else self.browser.GetSequenceNode(outputNode)
        self.segmentIds: dict[str, dict[str, str]] = {}  # by index value, then by name
        self.staged = slicer.vtkMRMLSequenceNode()
        self.staged.SetIndexName(volumes.GetIndexName())
        self.staged.SetIndexUnit(volumes.GetIndexUnit())
        self.staged.SetIndexType(volumes.GetIndexType())
        self.staged.SetNumericIndexValueTolerance(volumes.GetNumericIndexValueTolerance())

    def add(self, frame: Frame, result, images: list):
        """Adds the result of a frame, and returns its segmentation. Raises what ``result_to_segmentation`` raises."""
        before = None if self.existing is None else self.existing.GetDataNodeAtValue(frame.indexValue, True)
        blank = slicer.vtkMRMLSegmentationNode()
        blank.SetName(self._name())
        node = self.staged.SetDataNodeAtValue(blank if before is None else before, frame.indexValue)
        self.segmentIds[frame.indexValue] = result_to_segmentation(result, None, node, images=images)[1]
        return node

    def nodes(self) -> list:
        """The segmentations that were added."""
        return [self.staged.GetNthDataNode(number) for number in range(self.staged.GetNumberOfDataNodes())]

    def commit(self):
        """Puts them into the scene: the proxy segmentation node and the sequence node. The shown frame stays the same."""
        return self._commitNew() if self.existing is None else self._commitUpdate()

    def _commitNew(self):
        scene, name = self.volumeNode.GetScene(), self._name()
        self.staged.SetName(scene.GenerateUniqueName(_("{name} sequence").format(name=name)))
        scene.AddNode(self.staged)
        proxy = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(name))
        proxy.CreateDefaultDisplayNodes()
        proxy.SetAndObserveTransformNodeID(self.volumeNode.GetTransformNodeID())
        proxy.SetReferenceImageGeometryParameterFromVolumeNode(self.volumeNode)
        wasModifying = self.browser.StartModify()
        try:
            self.browser.AddSynchronizedSequenceNodeID(self.staged.GetID())
            self.browser.AddProxyNode(proxy, self.staged, False)
            self.browser.SetSaveChanges(self.staged, True)  # what the user corrects by hand in a frame stays
        finally:
            self.browser.EndModify(wasModifying)
        self._show(proxy, self.staged)
        place_beside(proxy, self.volumeNode)
        return proxy, self.staged

    def _commitUpdate(self):
        requireSameTransform(self.volumeNode, self.outputNode)
        for number in range(self.staged.GetNumberOfDataNodes()):
            value, node = self.staged.GetNthIndexValue(number), self.staged.GetNthDataNode(number)
            if self.existing.GetDataNodeAtValue(value, True) is None:
                self.existing.SetDataNodeAtValue(node, value)
            else:
                shallow = True  # the staged node is not needed any more
                self.existing.UpdateDataNodeAtValue(node, value, shallow)
        self._show(self.outputNode, self.existing)
        return self.outputNode, self.existing

    def _show(self, proxy, sequence) -> None:
        """The selected frame into the proxy, as the browser does at a change of frame: where it saves changes the two share
        their segments, so that corrections reach the sequence."""
        shown = sequence.GetDataNodeAtValue(indexValueOf(self.browser, self.volumeNode), True)
        if shown is not None:
            proxy.CopyContent(shown, not self.browser.GetSaveChanges(sequence))

    def _name(self) -> str:
        if self.outputNode is not None:
            return self.outputNode.GetName()
        return _("{volume} segmentation").format(volume=self.volumeNode.GetName())
