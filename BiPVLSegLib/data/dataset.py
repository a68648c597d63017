"""Training patches: one preprocessed copy of every volume in memory (or on disk), and crops that depend on a number only.

Patch ``k`` of a run is a function of (seed, k): which volume, which crop, which augmentation. So a resumed run, or one with
another number of loader processes, sees the same patches.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ..concepts import ConceptSet, fold_name
from ..errors import FrameRequiredError, InputError, OutputError, TrainingError
from ..geometry.grid import SAME_GRID, largest_distance
from ..geometry.resample import labels_to_working_grid
from ..io.volume import Volume, read_labels, read_volume
from ..io.writing import atomic_path
from .datalist import Case, Datalist
from .preprocessing import plan_grid, prepare_image
from .synthesis import Synthesis, SynthesizeImaged
from .transforms import crop_places, crop_size, padding, training_transform

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelMapping:
    """How the label values of a data set answer the rows of a concept table. Paired by name, never by position.

    Attributes:
        known: (N,) bool, which classes of the table this data set labels, or knows to be absent.
        values: per class the label values that belong to it (several for nested regions, none where unknown or absent).
        named: all label values that the data set has a name for.
    """

    known: tuple[bool, ...]
    values: tuple[tuple[int, ...], ...]
    named: frozenset[int] = frozenset()

    def nameless(self, label: np.ndarray | torch.Tensor) -> list[int]:
        """The values in a label volume that the data set has no name for; they count as background."""
        there = set(torch.as_tensor(label).flatten().int().bincount().nonzero().flatten().tolist())
        return sorted(there - self.named - {0})

    def masks(self, label: np.ndarray | torch.Tensor) -> list:
        """One boolean mask per class from a label volume in the data set's own values."""
        if isinstance(label, torch.Tensor):
            return [torch.isin(label, torch.tensor(values, dtype=label.dtype)) for values in self.values]
        return [np.isin(label, values) for values in self.values]


def pair_labels(datalist: Datalist, concepts: ConceptSet, regions: dict[str, tuple[int, ...]]) -> LabelMapping:
    """Pairs the label names of a data set with the enabled rows of a concept table by name (case-insensitive), or with
    ``regions``. What belongs to rows that are not enabled is background.

    Raises:
        InputError: no class of the table is labelled, or a label name is not in the table.
    """
    by_name = {fold_name(name): values for name, values in datalist.labels.items()}
    if regions:
        by_name = {fold_name(name): tuple(values) for name, values in regions.items()}
        there = {value for values in datalist.labels.values() for value in values}
        absent = sorted({value for values in regions.values() for value in values} - there)
        if absent:
            raise InputError(
                f"{datalist.path}: the regions of this preset are made of label values, and {absent} is not among its "
                f"labels ({datalist.labels}); renumber the labels."
            )
        unused = sorted(there - {value for values in regions.values() for value in values})
        if unused:
            raise InputError(
                f"{datalist.path}: the label value(s) {unused} of {datalist.labels} belong to no region of this preset; "
                "renumber the labels."
            )
    names = [fold_name(concept.name) for concept in concepts if concept.enabled]
    off = {fold_name(concept.name) for concept in concepts if not concept.enabled}
    unmatched = [name for name in by_name if name not in names and name not in off]
    if unmatched or not any(name in by_name for name in names):
        raise InputError(
            f"{datalist.path}: no concept row for the label(s) {', '.join(unmatched) or 'of this data set'}. Labels and "
            f"concepts are paired by name; the concept table '{concepts.name}' has: {', '.join(concepts.names)}."
        )
    absent = {fold_name(name) for name in datalist.absent}
    unclear = sorted(absent & by_name.keys() | absent - set(names) - off)
    if unclear:
        raise InputError(
            f'{datalist.path}: "absent" names {", ".join(unclear)}, which is labelled there or has no row in the concept '
            f"table '{concepts.name}'."
        )
    known = by_name.keys() | absent
    return LabelMapping(
        tuple(name in known for name in names),
        tuple(by_name.get(name, ()) for name in names),
        frozenset(value for values in datalist.labels.values() for value in values),
    )


def warn_of_nameless(values: Sequence[int], label: Path) -> None:
    """Says that values count as background for which a data set has no name, with the first file that has them."""
    listed = ", ".join(map(str, values[:10])) + (" ..." if len(values) > 10 else "")
    logger.warning(
        '%s has the value(s) %s, which "labels" does not name: they count as background.%s',
        label, listed, f" It has {len(values)} of them, as an image has: is it the label?" if len(values) > 100 else "",
    )  # fmt: skip


def read_case(case: Case, channels: int) -> tuple[Volume, np.ndarray | None]:
    """Image and label (I, J, K) of a case; both must lie on one grid.

    Raises:
        InputError: unreadable files, or a label on another grid.
    """
    if not case.images:
        raise InputError(f"{case.label} has no image; only training can make one from the label map.")
    try:
        volume = read_volume(list(case.images) if len(case.images) > 1 else case.images[0], channels=channels)
    except FrameRequiredError as error:
        raise InputError(
            f"{case.images[0]} holds {error.frames} frames, and a case of a data set is one; save the frame that is labelled "
            "as a file of its own."
        ) from error
    if case.label is None:
        return volume, None
    label = _read_label_file(case.label)
    there, here = (f"{case.label} does not lie on the grid of its image {case.images[0]}", label.array.shape[1:])
    if here != volume.array.shape[1:]:
        raise InputError(f"The label {there}: it has {here} voxels, and the image {volume.array.shape[1:]}.")
    apart = largest_distance(here, label.affine, volume.affine)
    if apart > SAME_GRID * min(volume.spacing):
        raise InputError(f"The label {there}: voxels of one index lie up to {apart:.3g} mm apart.")
    return volume, label.array[0]


def _read_label_file(path: Path) -> Volume:
    try:
        return read_labels(path)
    except FrameRequiredError as error:
        raise InputError(
            f"{path} holds {error.frames} label volumes (layers or frames), and a case of a data set has one; put them into one "
            "volume in which every structure has a value of its own."
        ) from error


def _stamps(file: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of a file; of a folder, and of a header that may have its voxels beside it, those of what belongs to
    it, too."""
    file = file.resolve()
    parts = []
    if file.is_dir():
        parts = sorted(file.iterdir())
    elif file.suffix.lower() in (".mhd", ".nhdr"):
        parts = sorted(other for other in file.parent.iterdir() if other.stem == file.stem and other != file)
    return [(str(part), part.stat().st_size, part.stat().st_mtime_ns) for part in (file, *parts)]


def read_label_map(case: Case, synthesis: Synthesis, preprocessing: dict[str, Any]) -> torch.Tensor:
    """The label map of a case without image, int16 (D, H, W) on the working grid.

    Raises:
        InputError: unreadable, or it has values that no tissue has.
    """
    volume = _read_label_file(case.label)
    label = volume.array[0]
    synthesis.check(label, str(case.label))
    grid = plan_grid(label.shape, volume.affine, preprocessing)
    return labels_to_working_grid(label, grid).to(torch.int16)


@dataclass(frozen=True)
class Source:
    """The training cases of one data set. ``synthesis`` makes images for cases that are label maps only."""

    cases: Sequence[Case]
    mapping: LabelMapping
    synthesis: Synthesis | None = None


class PatchDataset(Dataset):
    """Patches of the training volumes of one or several data sets.

    Args:
        sources: the data sets.
        preprocessing: the model's preprocessing settings.
        augmentation: see ``transforms.AUGMENTATION``.
        channels: image channels.
        seed: of the run.
        cache: None keeps preprocessed volumes in memory; a folder keeps them there (float16 ``.npy``, read on demand).
        weights: of the sources; none: every volume is drawn once in each epoch.

    Raises:
        TrainingError: the weights do not fit the sources.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        preprocessing: dict[str, Any],
        augmentation: dict[str, Any],
        channels: int,
        seed: int,
        cache: Path | None = None,
        weights: Sequence[float] = (),
    ):
        self.preprocessing, self.augmentation = preprocessing, augmentation
        self.channels, self.seed, self.cache = channels, seed, cache
        self.sources = sources
        self.items = [(case, source.mapping) for source in sources for case in source.cases]
        self.source_of = [number for number, source in enumerate(sources) for _ in source.cases]
        self.chances = _chances(sources, weights)
        self.synthesis = [source.synthesis if not case.images else None for source in sources for case in source.cases]
        settings = (list(preprocessing["patch_size"]), preprocessing["flip_axes"], augmentation)
        self.transforms = {None: training_transform(*settings)}
        for source in sources:
            if source.synthesis is not None:
                make_image = SynthesizeImaged(source.synthesis, preprocessing["intensity"])
                self.transforms[source.synthesis] = training_transform(*settings, make_image)
        self.volumes: dict[int, dict] = {}
        # of a DICOM folder they take hundreds of looks at the disk
        self.stamps: dict[int, list[tuple[str, int, int]]] = {}

    def fill(self, progress=iter, part: int = 0, parts: int = 1) -> list[bool]:
        """Preprocesses every volume now rather than on first use. ``progress`` wraps the iterable (tqdm).

        With a cache on disk, which all processes read, each of ``parts`` processes prepares its ``part`` of them. Returns of
        each source whether a voxel of its classes was found, for ``check_found``.
        """
        own = range(part, len(self.items), parts) if self.cache is not None else range(len(self.items))
        found, told = [False] * len(self.sources), set()
        for index in progress(own):
            source, (case, mapping) = self.source_of[index], self.items[index]
            volume = self._volume(index)
            found[source] |= len(volume["organs_fg_indices"]) > 0
            nameless = [] if source in told or self.synthesis[index] is not None else mapping.nameless(volume["label"])
            if nameless:
                told.add(source)
                warn_of_nameless(nameless, case.label)
        return found

    def check_found(self, found: Sequence[bool]) -> None:
        """Warns of data sets without a voxel of the classes that they are said to label.

        Raises:
            InputError: no data set has any.
        """
        for source in [source for source, some in zip(self.sources, found, strict=True) if source.cases and not some]:
            values = sorted(value for values in source.mapping.values for value in values)
            example = source.cases[0].label
            note = (
                f"Not one voxel of {example} and of the training volumes with it has one of the label values {values}; check "
                '"labels" in dataset.json against the values in the label files.'
            )
            if not any(found):
                raise InputError(note)
            logger.warning(note)  # volumes without the organs may be meant to teach their absence

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Patch ``number`` -> image (C, D, H, W) float32, label (D, H, W) int16 in data set values, item index."""
        index = self._volume_of(number)
        # MONAI's transforms take one seed for all of them
        transform = self.transforms[self.synthesis[index]]
        transform.set_random_state(seed=int(np.random.default_rng([self.seed, 1, number]).integers(2**31)))
        crop = transform(dict(self._volume(index)))
        crop = crop[0] if isinstance(crop, list) else crop
        return {
            "image": torch.as_tensor(np.asarray(crop["image"]), dtype=torch.float32),
            "label": torch.as_tensor(np.asarray(crop["label"][0]), dtype=torch.int16),
            "item": torch.tensor(index),
        }

    def _volume_of(self, number: int) -> int:
        if self.chances is not None:
            return int(np.random.default_rng([self.seed, 3, number]).choice(len(self.items), p=self.chances))
        epoch, place = divmod(number, len(self.items))
        return int(np.random.default_rng([self.seed, epoch]).permutation(len(self.items))[place])

    def __len__(self) -> int:
        """Patches do not run out; a sampler says how many are drawn."""
        return 2**62

    def known(self, items: torch.Tensor) -> torch.Tensor:
        """(B, N) bool: which classes are labelled in these volumes."""
        return torch.tensor([self.items[int(i)][1].known for i in items])

    def _volume(self, index: int) -> dict:
        """What ``training_transform`` takes: image float16 (C, D, H, W), if the case has one, label int16 (1, D, H, W) and the
        places of crops."""
        if index in self.volumes:
            return self.volumes[index]
        case, mapping = self.items[index]
        kinds = ("image", "label") if case.images else ("label",)
        if index not in self.stamps:
            self.stamps[index] = [stamp for file in case.files for stamp in _stamps(file)]
        synthesis = self.synthesis[index]
        tissues = None if synthesis is None else [tissue.values for tissue in synthesis.tissues]
        key = [case.name, self.preprocessing, self.stamps[index], self.channels, tissues]
        tensors = self._kept(key, kinds, lambda: self._preprocess(case, synthesis))
        patch = list(self.preprocessing["patch_size"])
        volume = dict(zip(kinds, tensors, strict=True))
        volume["label"] = volume["label"][None]
        volume = padding(patch, self.augmentation, kinds)(volume)
        organs = sorted(value for values in mapping.values for value in values)
        places = self._kept(
            [*key, organs, crop_size(patch, self.augmentation)],
            ("organs_fg_indices", "organs_bg_indices"),
            lambda: crop_places(torch.as_tensor(volume["label"]), organs),
        )
        volume |= {"organs_fg_indices": places[0].numpy(), "organs_bg_indices": places[1].numpy()}
        if self.cache is None:
            self.volumes[index] = volume
        return volume

    def _kept(
        self, key: list, kinds: Sequence[str], make: Callable[[], Sequence[torch.Tensor]]
    ) -> Sequence[torch.Tensor]:
        """What ``make`` returns, one tensor per kind; from the disk cache if that has it. From there a crop reads its own
        part of a volume only."""
        if self.cache is None:
            return make()
        stem = f"{key[0]}-{hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()[:16]}"
        files = [self.cache / f"{stem}-{kind}.npy" for kind in kinds]
        if not all(file.is_file() for file in files):
            try:
                self.cache.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(
                    f"The folder '{self.cache}' for preprocessed volumes cannot be made ({error.strerror}); choose another one."
                ) from error
            for file, tensor in zip(files, make(), strict=True):
                self._keep(file, tensor)
        return tuple(map(_load, files))

    @staticmethod
    def _keep(file: Path, tensor: torch.Tensor) -> None:
        """Writes a file of the disk cache, unless another process was faster and perhaps reads it already: Windows replaces
        no file that is read."""
        if file.is_file():
            return
        try:
            with atomic_path(file) as temporary:
                np.save(temporary, tensor.numpy())
        except OutputError:
            if not file.is_file():
                raise

    def _preprocess(self, case: Case, synthesis: Synthesis | None) -> tuple[torch.Tensor, ...]:
        if synthesis is not None:
            return (read_label_map(case, synthesis, self.preprocessing),)
        volume, label = read_case(case, self.channels)
        if label is None:
            raise InputError(f"The training case {case.images[0]} has no label.")
        grid = plan_grid(volume.array.shape[1:], volume.affine, self.preprocessing)
        image, box = prepare_image(volume.array, grid, self.preprocessing)
        if any(channel.min() == channel.max() for channel in image):
            raise InputError(
                f"All voxels of {volume.source} are the same after the setting preprocessing.intensity="
                f"{self.preprocessing['intensity']}: is that meant for such images?"
            )
        return image.half(), labels_to_working_grid(label, grid)[box].to(torch.int16)


def _load(file: Path) -> torch.Tensor:
    """Raises InputError where the file is damaged."""
    try:  # copy-on-write: PyTorch wants arrays that can be written to
        return torch.from_numpy(np.load(file, mmap_mode="c", allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise InputError(f"The preprocessed volume '{file}' is damaged; delete it, and it is made anew.") from error


def _chances(sources: Sequence[Source], weights: Sequence[float]) -> np.ndarray | None:
    """Of each volume to be drawn; None without weights."""
    if not weights:
        return None
    if len(weights) != len(sources) or not all(isinstance(w, (int, float)) and 0 < w < float("inf") for w in weights):
        raise TrainingError(
            f"The weights {list(weights)} must be positive numbers, one for each of the {len(sources)} data set(s)."
        )
    chances = np.concatenate(
        [np.full(len(source.cases), w / len(source.cases)) for source, w in zip(sources, weights, strict=True)]
    )
    return chances / chances.sum()


class StepSampler:
    """Patch numbers of the steps ``first``..``last``-1 of a run, a batch at a time.

    With several processes each gets its part of every batch: ``part`` of ``parts``, which divides ``batch_size``.
    """

    def __init__(self, first: int, last: int, batch_size: int, part: int = 0, parts: int = 1):
        self.first, self.last, self.batch_size = first, last, batch_size
        self.size = batch_size // parts
        self.offset = part * self.size

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.last):
            start = step * self.batch_size + self.offset
            yield list(range(start, start + self.size))

    def __len__(self) -> int:
        return self.last - self.first
