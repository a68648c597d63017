"""How a patient lies in a volume: the structures that were found, against where they are in training data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

ASKEW = 12  # degrees, from which on a second look pays
SMALL, LARGE = 0.85, 1.2  # against training data, beyond which it does, too
EXTREME = 0.4, 2.5  # beyond which no network has seen what it drew
FEWEST = 10  # structures, found whole, that tell; beside each other in one half of the brain there are eight
SMALLEST = 50  # voxels of a structure
DISORDER = 0.25  # of the mean distance from the middle; half of the structures lie further from their places
_ROUNDS = 10
_FIRM = 0.1  # of the mean distance: how near to its place a structure has full weight


@dataclass(frozen=True)
class Pose:
    """``turn`` (3, 3) takes vectors in the patient, RAS, to the same patient straight. ``disorder`` is the median distance of
    structures from their places then, as a share of their mean distance from the middle. ``size``: how many times as far from
    each other as in training data they lie."""

    turn: np.ndarray
    disorder: float
    size: float = 1.0

    @property
    def degrees(self) -> float:
        return float(np.degrees(np.arccos(np.clip((np.trace(self.turn) - 1) / 2, -1, 1))))

    @property
    def is_unlikely(self) -> bool:
        """Whether the structures lie as in no patient, which says nothing of how one lies."""
        return self.disorder > DISORDER

    @property
    def is_askew(self) -> bool:
        return self.degrees > ASKEW and not self.is_unlikely

    @property
    def is_odd_in_size(self) -> bool:
        usual, possible = SMALL <= self.size <= LARGE, EXTREME[0] <= self.size <= EXTREME[1]
        return possible and not usual and not self.is_unlikely

    def straightening(self) -> np.ndarray | None:
        """(4, 4), what takes points of the patient, RAS mm, to where a second look is to see them; None where none is due."""
        if not (self.is_askew or self.is_odd_in_size):
            return None
        matrix = np.eye(4)
        matrix[:3, :3] = self.turn / self.size if self.is_odd_in_size else self.turn
        return matrix


def find_pose(
    winner: np.ndarray, affine: np.ndarray, centres: Mapping[int, Sequence[float]], inside: np.ndarray | None = None
) -> Pose | None:
    """How the patient lies, or None where too few structures were found whole.

    Args:
        winner: (D, H, W), value of the structure at each voxel.
        affine: voxel index to RAS mm.
        centres: value -> where the middle of that structure is in training data, RAS mm from any common point.
        inside: as ``middles`` has it.
    """
    found = middles(winner, affine, centres, inside)
    if len(found) < FEWEST:
        return None
    return fit_pose(np.array(list(found.values())), np.array([centres[value] for value in found], float))


def middles(
    labels: np.ndarray, affine: np.ndarray, values: Collection[int], inside: np.ndarray | None = None
) -> dict[int, np.ndarray]:
    """Value -> middle of its voxels, RAS mm, for those of the ``values`` that are there as a whole.

    ``inside``: bool (D, H, W), what was looked at; None: all. A structure that reaches its border may go on behind it.
    """
    from scipy import ndimage

    border = np.ones(labels.shape, bool)
    border[1:-1, 1:-1, 1:-1] = False
    if inside is not None:
        border |= ~ndimage.binary_erosion(inside, border_value=1)
    size = max(values, default=0) + 1
    known = np.where(labels < size, labels, 0).ravel()
    voxels, cut = np.bincount(known, minlength=size), np.bincount(known[border.ravel()], minlength=size)
    whole = [value for value in values if voxels[value] >= SMALLEST and not cut[value]]
    found = np.reshape(ndimage.center_of_mass(np.ones(labels.shape, np.uint8), labels, whole), (-1, 3))
    return dict(zip(whole, found @ affine[:3, :3].T + affine[:3, 3], strict=True))


def fit_pose(found: np.ndarray, places: np.ndarray) -> Pose | None:
    """The rotation and the size that bring points (N, 3) to their places (N, 3) but for a shift. Least squares, weighted anew
    several times, so that points that do not fit come to count little. None where the points lie on one line, which does not
    say how it is turned."""
    from scipy.spatial.transform import Rotation

    weights, error = np.ones(len(found)), np.zeros(len(found))
    turn, size = Rotation.identity(), 1.0
    for _ in range(_ROUNDS):
        mine, theirs = (points - np.average(points, axis=0, weights=weights) for points in (found, places))
        for points in (mine, theirs):
            spread = np.linalg.svd(points * np.sqrt(weights)[:, None], compute_uv=False)
            if not spread[1] > 0.1 * spread[0]:
                return None
        turn = Rotation.align_vectors(theirs, mine, weights=weights)[0]
        turned = turn.apply(mine)
        together = (weights[:, None] * turned * theirs).sum()
        shrink, size = together / (weights[:, None] * turned**2).sum(), together / (weights[:, None] * theirs**2).sum()
        error = np.linalg.norm(turned * shrink - theirs, axis=1) / np.linalg.norm(theirs, axis=1).mean()
        weights = 1 / np.maximum(error, _FIRM) ** 2
    return Pose(turn.as_matrix(), float(np.median(error)), float(size))
