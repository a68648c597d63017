"""A volume to try the panel with, in Slicer's Sample Data module: a generated heart, so nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import slicer
from slicer.i18n import tr as _

CATEGORY = "BiPVLSeg"
SAMPLE_NAME = "BiPVLSegHeart"
SEED = 5  # a heart that lies whole in the stack and looks ordinary
_THUMBNAIL = Path(__file__).resolve().parents[1] / "Resources" / "Icons" / "BiPVLSegHeart.png"


def registerAfterStartup() -> None:
    """Registers the sample when Slicer has started: only then are all modules there, Sample Data among them."""
    slicer.app.connect("startupCompleted()", register)


def register() -> None:
    """Adds the sample to Sample Data; does nothing in a Slicer that was built without that module."""
    try:
        import SampleData
    except ModuleNotFoundError:
        return
    logic = SampleData.SampleDataLogic
    logic.registerCustomSampleDataCategory(CATEGORY, title=_("BiPVLSeg"))
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=SAMPLE_NAME,
        uris=[],  # no files: the volume is made when the button is pressed
        fileNames=[],
        nodeNames=[],
        customDownloader=generate,
        thumbnailFileName=str(_THUMBNAIL),
    )


def generate(source=None):
    """Makes the heart, a cine MR short-axis stack at end-diastole, shows it in the slice views and returns its node.

    Args:
        source: what Sample Data passes along; not needed.
    """
    with slicer.util.tryWithErrorDisplay(_("The sample heart could not be made."), waitCursor=True):
        from BiPVLSegLib.data.phantom import cine_phantom

        phantom = cine_phantom(seed=SEED)
        node = _volumeNode(phantom.image, phantom.affine)
        slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node


def _volumeNode(image, affine):
    """A scalar volume node of ``image`` (I, J, K) that lies where ``affine`` (voxel index -> RAS mm) says."""
    from BiPVLSegLib.slicer.volumes import array_to_matrix

    name = slicer.mrmlScene.GenerateUniqueName(SAMPLE_NAME)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetIJKToRASMatrix(array_to_matrix(affine))
    slicer.util.updateVolumeFromArray(node, image.transpose(2, 1, 0))
    node.CreateDefaultDisplayNodes()
    return node
