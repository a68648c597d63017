"""What a segmentation run gives back: labels on the input's own grid, and what each label means."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..concepts import ConceptSet
from ..errors import GeometryError, InputError
from .segment_id import segment_id

UNSURE_BELOW = 0.93  # mean probability, for results that do not tell the limit of their model


@dataclass(frozen=True)
class Segment:
    """One class as Slicer sees it.

    ``color`` is (red, green, blue), 0 to 255. ``layer`` is 0 for exclusive classes. ``terminology`` is Slicer's
    serialised terminology entry, or "" where the class has no code.
    """

    id: str
    name: str
    color: tuple[int, int, int]
    label_value: int
    layer: int
    terminology: str


@dataclass(eq=False)
class SegmentationResult:
    """A segmentation on the input's own grid.

    Class c is ``concepts.concepts[c]``. Exclusive classes share one ``labelmap`` (I, J, K), where class c has the value
    c + 1 and 0 is background. Classes that may overlap have one layer each: ``labelmap`` is (N, I, J, K), and layer c
    is 1 in class c, 0 elsewhere. The labelmap is kept as uint8, or as uint16 for more than 255 exclusive classes.

    ``affine`` (4x4) takes voxel indices (i, j, k) to RAS mm. ``info`` tells how the result came about (model, device,
    seconds, windows, notes, ...) and must hold plain JSON data. ``probabilities``, where asked for, is (N, I, J, K);
    it is not saved. ``confidence`` has a number of 0 to 1 per class name.

    Raises
    ------
    GeometryError
        The affine is no invertible 4x4 matrix, or the labelmap has the wrong number of axes or layers.
    InputError
        The labelmap has values that no class has.

    Examples
    --------
    >>> from BiPVLSegLib.concepts import Concept, ConceptSet
    >>> spleen = ConceptSet("demo", (Concept("Spleen", "Spleen in an abdominal CT image"),))
    >>> SegmentationResult(np.ones((10, 10, 10), np.uint8), np.eye(4), spleen).volumes_ml()
    {'Spleen': 1.0}
    """

    labelmap: np.ndarray
    affine: np.ndarray
    concepts: ConceptSet
    info: dict[str, Any] = field(default_factory=dict)
    probabilities: np.ndarray | None = None
    confidence: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.affine = _checked_affine(self.affine)
        self.labelmap = self._checked_labelmap(np.asarray(self.labelmap))
        if self.probabilities is not None and self.probabilities.shape != (len(self.concepts), *self.shape):
            raise GeometryError(
                f"The probabilities have the shape {self.probabilities.shape}, not {(len(self.concepts), *self.shape)}."
            )

    @property
    def nested(self) -> bool:
        """Whether every class has a layer of its own, so that classes may overlap."""
        return self.labelmap.ndim == 4

    @property
    def shape(self) -> tuple[int, int, int]:
        """The size of the grid (I, J, K)."""
        return self.labelmap.shape[-3:]

    def mask(self, name: str) -> np.ndarray:
        """Where a class is: bool (I, J, K). The name is compared as ``ConceptSet.find`` does.

        Raises ConceptError for a name that is not in the set.
        """
        index = self.concepts.concepts.index(self.concepts.find(name))
        return self.labelmap[index] == 1 if self.nested else self.labelmap == index + 1

    def volume_ml(self, name: str) -> float:
        """The volume of a class in millilitres. Raises ConceptError for a name that is not in the set."""
        return self.volumes_ml()[self.concepts.find(name).name]

    def is_unsure(self, name: str) -> bool:
        """Whether the model was so unsure of a class that a person should look at it: its confidence is below the limit of
        the model, ``info["unsure_below"]``. False for a class that was not found, which has no confidence.

        Raises ConceptError for a name that is not in the set.
        """
        return self.confidence.get(self.concepts.find(name).name, 1.0) < self.info.get("unsure_below", UNSURE_BELOW)

    def volumes_ml(self) -> dict[str, float]:
        """The volume of every class in millilitres, in the order of the table."""
        if self.nested:
            counts = np.array([np.count_nonzero(layer) for layer in self.labelmap])
        else:
            # slab by slab: bincount makes an int64 copy of what it counts, eight times the labelmap
            slabs = (np.bincount(slab.ravel(order="K"), minlength=len(self.concepts) + 1) for slab in self.labelmap)
            counts = sum(slabs, start=np.zeros(len(self.concepts) + 1, np.int64))[1:]
        voxel_ml = abs(np.linalg.det(self.affine[:3, :3])) / 1000
        return {name: float(count * voxel_ml) for name, count in zip(self.concepts.names, counts)}

    def segments(self) -> list[Segment]:
        """Id, name, colour, label value, layer and terminology of every class, in the order of the table."""
        return [
            Segment(
                id=segment_id(concept.name),
                name=concept.name,
                color=self.concepts.color_of(concept),
                label_value=1 if self.nested else index + 1,
                layer=index if self.nested else 0,
                terminology="" if concept.terminology is None else concept.terminology.to_entry(),
            )
            for index, concept in enumerate(self.concepts)
        ]

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Writes ``.seg.nrrd``, or ``.nii.gz`` / ``.nii`` with a JSON beside it; see ``save_result``.

        Raises
        ------
        OutputError
            The extension is another one, a file exists and ``overwrite`` is false, or it cannot be written. Nothing is
            left behind, and what was there before is untouched.
        """
        from .files import save_result

        save_result(self, path, overwrite)

    def _checked_labelmap(self, labelmap: np.ndarray) -> np.ndarray:
        classes = len(self.concepts)
        if labelmap.ndim not in (3, 4) or 0 in labelmap.shape:
            raise GeometryError(f"A labelmap is (I, J, K) or (N, I, J, K) and not empty; this one is {labelmap.shape}.")
        if labelmap.ndim == 4 and len(labelmap) != classes:
            raise GeometryError(f"The labelmap has {len(labelmap)} layers for {classes} classes; each needs one.")
        if labelmap.dtype.kind not in "bui":
            raise InputError(f"The labels are {labelmap.dtype} numbers; a labelmap needs whole numbers.")
        largest = 1 if labelmap.ndim == 4 else classes
        if labelmap.min() < 0 or labelmap.max() > largest:
            raise InputError(
                f"The labelmap has values from {labelmap.min()} to {labelmap.max()}; with {classes} classes they must "
                f"be 0 to {largest}."
            )
        return labelmap.astype(np.uint8 if largest <= 255 else np.uint16, copy=False)


def _checked_affine(affine: np.ndarray) -> np.ndarray:
    affine = np.array(affine, dtype=np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.array_equal(affine[3], (0, 0, 0, 1)):
        raise GeometryError("The affine of a segmentation must be a 4x4 matrix of finite numbers that ends in 0 0 0 1.")
    if np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise GeometryError("The affine of a segmentation has an axis of zero length or two parallel axes.")
    return affine
