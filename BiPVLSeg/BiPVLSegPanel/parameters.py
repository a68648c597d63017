"""What the panel keeps with the scene. Settings of the computer (device, precision, memory) are in ``settings.py``."""

from __future__ import annotations

from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import parameterNodeWrapper


@parameterNodeWrapper
class BiPVLSegParameterNode:
    """The parameter node of the panel.

    inputVolume : the volume to segment.
    region : the box that the run is restricted to; None is the whole volume.
    outputSegmentation : the segmentation that the next run updates; None makes a new one.
    model : name of the model; empty until one is chosen.
    conceptsJson : the concept table as text, with its version, edits and originals (``ConceptTable.toJson``).
    allFrames : every frame of a sequence, not only the one that is shown.
    show3D : surfaces are made after each run.
    flips : averaged over mirrored copies.
    probabilities : one probability volume per organ is added to the scene.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    region: vtkMRMLMarkupsROINode
    outputSegmentation: vtkMRMLSegmentationNode
    model: str
    conceptsJson: str
    allFrames: bool
    show3D: bool
    flips: bool
    probabilities: bool
