"""Images made from label maps: random contrast, bias field, resolution and noise over a given anatomy.

A network that only ever sees such images cannot rely on one contrast, so it works on any (Billot et al., SynthSeg, Medical
Image Analysis 2023, arXiv 2107.09559). Label maps may hold more tissues than are segmented: skull and skin are drawn, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandBiasField, RandGaussianSmooth, Randomizable, RandomizableTransform
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from .preprocessing import normalise_

PARTIAL_VOLUME = (0.3, 1.0)  # blur in voxels: a voxel at a border holds some of both tissues
BIAS = (0.0, 0.3)  # coefficients of the polynomial bias field
THICKEST = 4.0  # of the simulated slices, in voxels
THICKEST_CT = 2.0  # whose slices are 1-5 mm thick
STRIPPED = 0.4  # share of images in which only ``kept_when_stripped`` is left
NAMED = 0.5  # share of images in one of the named contrasts, where there are any


@dataclass(frozen=True)
class Tissue:
    """Label values that look alike. ``mean`` and ``std`` are ranges (low, high) that an image's own values are drawn from.

    ``contrasts``: narrower ranges of the mean in a contrast with a name, such as "T1".
    """

    values: tuple[int, ...]
    mean: tuple[float, float]
    std: tuple[float, float]
    contrasts: tuple[tuple[str, tuple[float, float]], ...] = ()


@dataclass(frozen=True)
class Synthesis:
    """How images are made of the label maps of a data set.

    Attributes:
        tissues: every label value but 0 belongs to one of them.
        background: range of the mean of label value 0; None leaves it at zero.
        kept_when_stripped: label values left in images without skull; empty: there are no such images.
    """

    tissues: tuple[Tissue, ...]
    background: tuple[float, float] | None = None
    kept_when_stripped: tuple[int, ...] = ()

    @property
    def contrasts(self) -> list[str]:
        """Names of the contrasts that any tissue has a range for."""
        return sorted({name for tissue in self.tissues for name, _ in tissue.contrasts})

    @classmethod
    def from_dict(cls, data: Any, where: str) -> Synthesis:
        """Reads ``"synthesis"`` of a dataset.json: ``{"tissues": [{"values": [3, 42], "mean": [0, 255], "std": [0, 35],
        "contrasts": {"T1": [90, 130]}}, ...], "background": [0, 20], "kept_when_stripped": [2, 3, ...]}``.

        Raises:
            InputError: something is missing or no pair of numbers.
        """
        try:
            _refuse_unknown(data, ("tissues", "background", "kept_when_stripped"))
            tissues = tuple(_tissue(entry) for entry in data["tissues"])
            background = None if data.get("background") is None else _range(data["background"])
            kept = tuple(int(v) for v in data.get("kept_when_stripped", ()))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f'{where}: "synthesis" is wrong ({error}); see the documentation of Synthesis.') from error
        values = [value for tissue in tissues for value in tissue.values]
        if not values or len(values) != len(set(values)) or min(values) < 1:
            raise InputError(f'{where}: in "synthesis" each label value from 1 must belong to exactly one tissue.')
        return cls(tissues, background, kept)

    def check(self, label: np.ndarray, name: str) -> None:
        """Raises InputError for label values of a map that no tissue has."""
        known = {0, *(value for tissue in self.tissues for value in tissue.values)}
        unknown = sorted(set(np.unique(label).tolist()) - known)
        if unknown:
            raise InputError(
                f'{name}: the label value(s) {unknown} belong to no tissue of "synthesis" in dataset.json.'
            )


def _refuse_unknown(data: dict[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise ValueError(f"it has no '{unknown[0]}', only {', '.join(known)}")


def _tissue(entry: dict[str, Any]) -> Tissue:
    _refuse_unknown(entry, ("values", "mean", "std", "contrasts"))
    contrasts = tuple((str(name), _range(pair)) for name, pair in entry.get("contrasts", {}).items())
    return Tissue(tuple(int(v) for v in entry["values"]), _range(entry["mean"]), _range(entry["std"]), contrasts)


def _range(pair: Any) -> tuple[float, float]:
    low, high = (float(number) for number in pair)
    if not low <= high:
        raise ValueError(f"{pair} is no range of two numbers")
    return low, high


class SynthesizeImaged(RandomizableTransform, MapTransform):
    """Adds ``image`` (1, D, H, W), normalised like a real one, to a dict with ``label`` (1, D, H, W) in map values."""

    def __init__(self, synthesis: Synthesis, intensity: dict[str, Any]):
        MapTransform.__init__(self, ["label"])
        RandomizableTransform.__init__(self, 1.0)
        self.synthesis, self.intensity = synthesis, intensity
        self.is_ct = intensity["mode"] == "window"
        self.bias = RandBiasField(prob=0.7, degree=3, coeff_range=BIAS)
        self.blur = RandGaussianSmooth(*[PARTIAL_VOLUME] * 3, prob=1.0)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Randomizable:
        super().set_random_state(seed, state)
        for part in (self.bias, self.blur):
            part.set_random_state(seed=int(self.R.randint(2**31)))
        return self

    def __call__(self, data: dict) -> dict:
        label = torch.as_tensor(np.asarray(data["label"][0])).long()
        means, stds = self._lookup(int(label.max()))
        stripped = bool(self.synthesis.kept_when_stripped) and self.R.rand() < STRIPPED
        if stripped:
            outside = np.setdiff1d(np.arange(len(means)), self.synthesis.kept_when_stripped)
            means[outside], stds[outside] = 0, 0
        noise = torch.randn(label.shape, generator=torch.Generator().manual_seed(int(self.R.randint(2**31))))
        image = torch.from_numpy(means)[label] + torch.from_numpy(stds)[label] * noise
        image = self.blur(image[None])
        # CT numbers are calibrated: no bias field there, and only slices along the body are thick
        image = torch.as_tensor(image if self.is_ct else self.bias(image), dtype=torch.float32)
        image = self._thick_slices(image.clamp_(min=0) if self.intensity["mode"] == "zscore" else image)
        if stripped:  # zero is zero in a stripped image, whatever was blurred into it
            image = image * (torch.from_numpy(means)[label] > 0)[None]
        image = image.contiguous()
        normalise_(image[0], self.intensity)
        return {**data, "image": image}

    def _lookup(self, largest: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and spread of every label value of this one image."""
        size = 1 + max(largest, *(value for tissue in self.synthesis.tissues for value in tissue.values))
        means, stds = np.zeros(size, np.float32), np.zeros(size, np.float32)
        names = self.synthesis.contrasts
        contrast = names[self.R.randint(len(names))] if names and self.R.rand() < NAMED else None
        for tissue in self.synthesis.tissues:
            means[list(tissue.values)] = self.R.uniform(*dict(tissue.contrasts).get(contrast, tissue.mean))
            stds[list(tissue.values)] = self.R.uniform(*tissue.std)
        if self.synthesis.background is not None and (self.is_ct or self.R.rand() < 0.5):  # zero is water in a CT
            means[0] = self.R.uniform(*self.synthesis.background)
            stds[0] = abs(means[0]) / (100 if self.is_ct else 4)
        return means, stds

    def _thick_slices(self, image: Tensor) -> Tensor:
        """As if taken with thicker slices along one axis, and brought back to this grid as a real volume would be."""
        if self.R.rand() < 0.5:
            return image
        axis = 2 if self.is_ct else int(self.R.randint(3))
        thickness = self.R.uniform(1.0, THICKEST_CT if self.is_ct else THICKEST)
        size = list(image.shape[1:])
        coarse = [max(1, round(n / thickness)) if a == axis else n for a, n in enumerate(size)]
        return F.interpolate(F.interpolate(image[None], coarse, mode="area"), size, mode="trilinear")[0]
