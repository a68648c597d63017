"""The voxels of a volume node as a run takes them, and what became of the node since."""

from __future__ import annotations

import numpy as np
from slicer.i18n import tr as _

from BiPVLSegLib.errors import InputError
from BiPVLSegLib.slicer.volumes import grid_of, same_grid, view_of_volume


class VolumeSnapshot:
    """Sees the voxels of a node without copying them.

    When the node gets other voxels, these stay as they are. When they are edited in place while they are being written,
    the file may hold half of either; ``requireUnchanged`` tells that afterwards.
    """

    def __init__(self, volumeNode) -> None:
        self.voxels, self.affine = view_of_volume(volumeNode)
        self._shape = self.voxels.shape
        self._scalars = _scalars(volumeNode)
        self._time = self._scalars.GetMTime()

    def requireUnchanged(self, name: str) -> None:
        """Raises InputError where the voxels were edited since, and lets go of them."""
        self.voxels = np.empty((0, 0, 0))
        if self._scalars.GetMTime() != self._time:
            raise InputError(
                _("'{name}' was changed while it was being read; segment it again when the changes are done.").format(
                    name=name
                )
            )

    def requireSameGrid(self, volumeNode) -> None:
        """Raises InputError where the volume now has another size or place of its own (not that of a transform)."""
        shape, affine = grid_of(volumeNode)
        if not same_grid(self._shape, self.affine, shape, affine):
            raise InputError(
                _("The size or place of '{name}' was changed during the run; segment it again.").format(
                    name=volumeNode.GetName()
                )
            )

    def isCurrent(self, volumeNode) -> bool:
        """Whether the node still has these voxels, unedited."""
        now = _scalars(volumeNode)
        return now is not None and now.GetMTime() == self._time  # no two arrays have the same


def _scalars(volumeNode):
    image = volumeNode.GetImageData()
    return None if image is None else image.GetPointData().GetScalars()
