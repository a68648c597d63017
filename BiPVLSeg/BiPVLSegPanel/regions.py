"""From a markups ROI to the box that the worker is given, in the coordinates of the volume itself."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from BiPVLSegLib.errors import InputError
from BiPVLSegLib.geometry.region import BoxRegion
from BiPVLSegLib.slicer.volumes import grid_of, matrix_to_array

_SMALLEST_MM = 1e-6


def roiToRegion(roiNode, volumeNode) -> np.ndarray:
    """The box of an ROI as a 4x4 matrix: RAS mm of the volume's own coordinates -> [-1, 1]^3 inside the box.

    The ROI may be turned. Where ROI and volume are under different transforms, the box is taken to the volume's own
    coordinates, exactly, which needs the way between them to be linear (then a box becomes a parallelepiped at most).

    Raises
    ------
    InputError
        It is no ROI, not placed yet, has no extent, is inside out, lies beside the volume, or under a transform that
        bends space.
    """
    if not isinstance(roiNode, slicer.vtkMRMLMarkupsROINode):
        raise InputError(_("The region must be an ROI made in the Markups module."))
    name = roiNode.GetName()
    half = np.array(roiNode.GetSize(), float) / 2
    if roiNode.GetNumberOfDefinedControlPoints() == 0 or not (half > _SMALLEST_MM).all() or not np.isfinite(half).all():
        raise InputError(
            _("The region '{name}' is empty; draw it around what is to be segmented, or choose none.").format(name=name)
        )
    if roiNode.GetInsideOut():
        raise InputError(_("The region '{name}' is set to inside out; switch that off.").format(name=name))
    boxToRoi = matrix_to_array(roiNode.GetObjectToNodeMatrix()) @ np.diag([*half, 1.0])
    boxToVolume = _between(roiNode, volumeNode) @ boxToRoi
    if abs(np.linalg.det(boxToVolume[:3, :3])) < _SMALLEST_MM**3:
        raise InputError(
            _("The transform of the region '{name}' makes it flat; choose another transform.").format(name=name)
        )
    matrix = np.linalg.inv(boxToVolume)
    matrix[3] = 0, 0, 0, 1  # exactly
    BoxRegion(matrix).bounds(*grid_of(volumeNode))
    return matrix


def _between(roiNode, volumeNode) -> np.ndarray:
    """From the ROI's own coordinates to those of the volume."""
    between, linear = vtk.vtkGeneralTransform(), vtk.vtkTransform()
    roiTransform, volumeTransform = roiNode.GetParentTransformNode(), volumeNode.GetParentTransformNode()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(roiTransform, volumeTransform, between)
    if not slicer.vtkMRMLTransformNode.IsGeneralTransformLinear(between, linear):
        raise InputError(
            _(
                "Between the region '{region}' and '{volume}' is a transform that is not linear, so the region is no box in "
                "the volume; draw the region under the transform of the volume."
            ).format(region=roiNode.GetName(), volume=volumeNode.GetName())
        )
    return matrix_to_array(linear.GetMatrix())
