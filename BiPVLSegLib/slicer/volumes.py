"""From a volume node to what the library segments: an array and where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from ..errors import GeometryError, InputError

if TYPE_CHECKING:
    import slicer

# Grids whose voxels lie further apart than this part of a voxel are different grids.
_SAME_GRID = 1e-3


def array_from_volume(volumeNode: slicer.vtkMRMLVolumeNode | None) -> tuple[np.ndarray, np.ndarray]:
    """The voxels (I, J, K) of a scalar volume node, and its IJK-to-RAS matrix (4x4, mm).

    The array is a copy: the node may be edited, moved or deleted while another thread works on the array. (Its axes lie
    in memory as in the node, K slowest; nothing relies on that.)

    A transform that the node is under is not applied. The result belongs on the same grid, so it goes under the same
    transform; ``result_to_segmentation`` sees to it.

    Raises
    ------
    InputError
        There is no volume, it is empty, or it is a labelmap, a colour or a vector volume.
    GeometryError
        The IJK-to-RAS matrix cannot be inverted.
    """
    voxels, affine = view_of_volume(volumeNode)
    return voxels.copy(order="K"), affine


def view_of_volume(volumeNode: slicer.vtkMRMLVolumeNode | None) -> tuple[np.ndarray, np.ndarray]:
    """As ``array_from_volume``, without a copy: the node's own voxels (I, J, K), K slowest, not to be written to.

    The view keeps the voxels alive when the node gets others or is deleted. Edits of the node show in it, so who reads
    it in another thread looks at the modification time of its scalars before and after.

    Raises what ``array_from_volume`` raises.
    """
    image = _image_of(volumeNode)
    shape, affine = grid_of(volumeNode)
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape[::-1]).transpose(2, 1, 0)
    voxels.flags.writeable = False
    return voxels, affine


def grid_of(volumeNode: slicer.vtkMRMLVolumeNode) -> tuple[tuple[int, int, int], np.ndarray]:
    """Size (I, J, K) and IJK-to-RAS matrix (4x4) of a volume node, without its parent transform.

    Raises what ``array_from_volume`` raises.
    """
    image = _image_of(volumeNode)
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    affine = matrix_to_array(matrix)
    affine[:3, 3] += affine[:3, :3] @ image.GetExtent()[::2]  # the first voxel need not have the index 0
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise GeometryError(
            f"The volume '{volumeNode.GetName()}' has a spacing of zero or parallel axes; correct its spacing and "
            "directions in the Volumes module."
        )
    return image.GetDimensions(), affine


def same_grid(shape: tuple[int, ...], affine: np.ndarray, other_shape: tuple[int, ...], other: np.ndarray) -> bool:
    """Whether two grids have the same size and their corners lie within a thousandth of a voxel of each other."""
    if tuple(shape) != tuple(other_shape):
        return False
    corners = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])], float).T
    return bool(np.allclose(np.linalg.inv(other) @ affine @ corners, corners, rtol=0, atol=_SAME_GRID))


def matrix_to_array(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """A vtkMatrix4x4 as float64 (4, 4)."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def array_to_matrix(array: np.ndarray) -> vtk.vtkMatrix4x4:
    """A (4, 4) array as a vtkMatrix4x4."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, float).ravel().tolist())
    return matrix


def _image_of(volumeNode: slicer.vtkMRMLVolumeNode | None) -> vtk.vtkImageData:
    if volumeNode is None:
        raise InputError("No volume is selected; choose the volume to segment.")
    name = volumeNode.GetName() or volumeNode.GetID()
    if not volumeNode.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError(f"'{name}' is not a scalar volume; choose a CT or MR volume.")
    if volumeNode.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(f"'{name}' is a labelmap; choose the image that it was drawn on.")
    image = volumeNode.GetImageData()
    if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
        raise InputError(f"The volume '{name}' is empty; load it again.")
    components = image.GetNumberOfScalarComponents()
    if components != 1:
        raise InputError(
            f"'{name}' has {components} values per voxel (a colour or vector volume); choose a volume with one."
        )
    return image
