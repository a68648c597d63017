"""One step back: what is about to be changed is kept where Slicer's own undo finds it."""

from __future__ import annotations

import slicer
import vtk


def saveForUndo(segmentationNode, *otherNodes) -> None:
    """Call before an existing segmentation is changed (None: nothing is); the other nodes go back with it.

    Slicer has two undos. That of the scene is off unless somebody has switched it on, and then takes only nodes that are
    enabled for it. That of the Segment Editor is the one that users know; it takes the segmentation that it shows.
    """
    if segmentationNode is None:
        return
    scene = segmentationNode.GetScene()
    if scene.GetUndoFlag():
        nodes = vtk.vtkCollection()
        for node in (segmentationNode, *otherNodes):
            if node is not None:
                node.SetUndoEnabled(True)
                nodes.AddItem(node)
        scene.SaveStateForUndo(nodes)
    editorModule = getattr(slicer.modules, "SegmentEditorWidget", None)  # there once the user has opened that module
    if editorModule is not None and editorModule.editor.segmentationNode() is segmentationNode:
        editorModule.editor.saveStateForUndo()
