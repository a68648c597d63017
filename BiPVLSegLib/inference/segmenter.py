"""From a volume and its concept texts to a segmentation on the volume's own grid."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..concepts import Concept, ConceptSet, fold_name, load_concepts, read_csv
from ..concepts.sides import mirrored_row
from ..data.preprocessing import plan_grid, prepare_image
from ..errors import ConceptError, DeviceError, GeometryError, InputError, NotEnoughMemoryError
from ..geometry.grid import WorkingGrid
from ..geometry.region import BoxRegion
from ..geometry.resample import labelmap_on_input_grid, scores_on_input_grid
from ..geometry.turned_grid import TurnedGrid
from ..io.limits import available_memory
from ..io.volume import Volume
from ..model import TextTokens
from ..model.loading import load_model
from ..model_store import find_model, whole_folder
from ..results import SegmentationResult
from .cancel import CancelToken
from .device import describe_device, resolve_device, resolve_precision
from .look import Look, Run, check_options
from .notes import notes_on, notes_on_lost, notes_on_pose
from .part import Part, plan_part
from .pose import Pose, find_pose
from .postprocessing import mean_where, probabilities_, take_away_small_pieces_
from .progress import Progress, WindowTimer
from .rows import Rows
from .sliding_window import Mirror, count_windows, sliding_window_logits
from .source import PathLike, VolumeSource, as_volume, check_field_of_view

logger = logging.getLogger(__name__)

GPU_BATCH = 4
_ALONE_NOTE = (
    "The memory is short, so organs that were not asked for were left out: what was asked for may differ a little from what "
    "it is beside them."
)


class Segmenter:
    """A loaded model, ready for any number of volumes and concept texts.

    Args:
        model: name of a bundled or user model, or a model folder.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        precision: "auto", "bf16", "fp16" or "fp32".

    Raises:
        ModelError, DeviceError: the model or the device cannot be used.

    Example::

        segmenter = Segmenter("cardiac-mr")
        for path in paths:
            segmenter.segment(path).save(path.with_suffix(".seg.nrrd"))
    """

    def __init__(self, model: PathLike = "cardiac-mr", device: str = "auto", precision: str = "auto"):
        self.folder = find_model(model)
        self.name = whole_folder(self.folder).name
        self.device = resolve_device(device)
        self.dtype = resolve_precision(precision, self.device)
        self.model = load_model(self.folder).to(self.device)
        self.config = self.model.config
        self._encoded: tuple[list[tuple[str, ...]], TextTokens] | None = None
        self._mirrored: tuple[list[Concept], Mirror | None] | None = None

    @torch.inference_mode()
    def segment(
        self,
        source: VolumeSource,
        concepts: PathLike | ConceptSet | None = None,
        *,
        only: Sequence[str] | None = None,
        frame: int | None = None,
        flips: bool = False,
        overlap: float | None = None,
        batch_size: int | None = None,
        probabilities: bool = False,
        region: BoxRegion | None = None,
        progress: Callable[[Progress], None] | None = None,
        cancel: CancelToken | None = None,
    ) -> SegmentationResult:
        """Segments one volume.

        Args:
            source: a file (NIfTI, NRRD, MHA), a DICOM folder, a list of files (one per channel), a Volume, or
                (array, affine) with array (I, J, K), (I, J, K, T) or (C, I, J, K) and affine voxel index -> RAS mm.
            concepts: bundled set, CSV or ConceptSet; None takes the model's own texts. Rows that are not enabled are
                left out.
            only: names of the rows to segment. A structure is the same whichever others are asked for, as long as all texts are
                the model's own.
            frame: which frame of a 4-D file, from 0.
            flips: average over mirrored versions along all axes that the model allows, not only along those of its
                ``always_flip``: slower, and often a little better. With ``mirror_sides`` also over that mirrored left-right,
                with left and right exchanged in the model's own texts; rows with other texts are not averaged over it.
            overlap: of the windows, 0 to below 1; None takes the model's.
            batch_size: windows at a time; None takes 1 on the CPU and 4 on a GPU.
            probabilities: also keep a probability volume per class.
            region: segment only there. Inside, the result is that of the whole volume (but of structures that are one
                piece, the largest in the region is kept, and it may hold too little to see that a patient lies askew); outside it
                is background. Only the windows that it needs are run.
            progress, cancel: see ``Progress`` and ``CancelToken``.

        Raises:
            InputError, ConceptError, ModelError: with a sentence that says what to do.
            Cancelled: ``cancel`` was set.
        """
        started = time.monotonic()
        report, cancel = progress or (lambda _: None), cancel or CancelToken()
        check_options(frame, overlap, batch_size, region)
        table = self.choose_concepts(concepts, only)
        rows = self._rows(table)
        if self.model.text is not None:
            for row in table:
                self.model.text.check(row)
        report(Progress("reading"))
        volume = as_volume(source, frame, self.config.in_channels)
        notes = list(volume.notes)
        for note in notes_on(volume, rows):
            _tell(notes, note)
        cancel.check()
        report(Progress("preparing"))
        overlap = self.config.preprocessing["overlap"] if overlap is None else overlap
        maps = len(table) if probabilities else 0
        run = Run(volume, rows, region, flips, overlap, batch_size, maps, report, cancel, notes)
        look, scores, device, dtype, pose = self._see(run)
        report(Progress("finishing"))
        part, keep = look.part, rows.places(look.asked)
        labelmap, confidence = self._labelmap(scores, keep, part, rows)
        cancel.check()
        found = None
        if probabilities:
            found = scores_on_input_grid(scores[[place + self._first for place in keep]], part.grid)
            found = part.on_whole_input(found)
        info = {
            "model": self.name,
            "concepts": table.name,
            "source": Path(os.path.abspath(volume.source)).name,  # files carry this: no folder names of patients
            "device": describe_device(device),
            "precision": _name(dtype),
            "seconds": round(time.monotonic() - started, 2),
            "windows": look.before + part.plan.count,
            "working_size": list(part.whole.shape),
            "unsure_below": self.config.unsure_below,
            "notes": notes,
        }
        if region is not None:
            info["region"] = region.matrix.tolist()
        if pose is not None:
            info["turned_by"], info["relative_size"] = round(pose.degrees), round(pose.size, 2)
        result = SegmentationResult(labelmap, volume.affine, table, info, found)
        result.confidence = {name: confidence[name] for name, ml in result.volumes_ml().items() if ml}
        for note in notes_on_lost(rows, result.confidence):
            _tell(notes, note)
        return result

    def windows(self, working_shape: Sequence[int], overlap: float | None = None) -> int:
        """How many windows a volume of that working size takes."""
        preprocessing = self.config.preprocessing
        overlap = preprocessing["overlap"] if overlap is None else overlap
        return count_windows(working_shape, preprocessing["patch_size"], overlap)

    # ---- texts -----------------------------------------------------------------------------------------------------

    def choose_concepts(
        self, concepts: PathLike | ConceptSet | None = None, only: Sequence[str] | None = None
    ) -> ConceptSet:
        """The rows to segment: the given table or the model's own, enabled rows, reduced to ``only``.

        Raises:
            ConceptError: unknown table or row, or no row is enabled.
        """
        table = self.table(concepts)
        if only is not None:
            return table.select(only)
        try:
            return table.enabled()
        except ConceptError as error:
            raise ConceptError(
                f"No row of the concept table '{table.name}' is enabled; enable at least one."
            ) from error

    def table(self, concepts: PathLike | ConceptSet | None = None) -> ConceptSet:
        """The given table, or the model's own, with the rows that are not enabled."""
        if concepts is not None:
            return load_concepts(concepts)
        own = self.folder / "concepts.csv"
        table = read_csv(own) if own.is_file() else load_concepts(self.config.concepts)
        return dataclasses.replace(table, name=self.config.concepts or table.name)

    def _rows(self, table: ConceptSet) -> Rows:
        try:
            own = list(self.table())
        except ConceptError:  # the model has no table of its own
            own = []
        return Rows(table, own, self.config)

    def _encode(self, asked: list[Concept]) -> TextTokens | None:
        if self.model.text is None:
            return None
        texts = [concept.texts for concept in asked]
        if self._encoded is None or self._encoded[0] != texts:  # a second volume with the same texts is the usual case
            self._encoded = texts, self.model.encode(asked)
        return self._encoded[1]

    def _mirror(self, rows: Rows, asked: list[Concept]) -> Mirror | None:
        """What to ask of the volume mirrored left-right; None where no texts are read, or none is the model's own.

        Edited texts are not averaged: exchanged, they may mislead the network as they stand (a reworded left putamen was lost).
        """
        if self.model.text is None or self.config.head == "fixed":
            return None
        if self._mirrored is None or self._mirrored[0] != asked:
            known = rows.are_own(asked)
            others = [mirrored_row(row) for row in asked]
            mirror = Mirror(self.model.encode(others), torch.tensor(known)) if any(known) else None
            self._mirrored = asked, mirror
        return self._mirrored[1]

    # ---- running ---------------------------------------------------------------------------------------------------

    def _see(self, run: Run) -> tuple[Look, torch.Tensor, torch.device, torch.dtype, Pose | None]:
        """What was looked at, the probabilities, what computed them, and how the patient lies where there was a second look."""
        look = self._prepare(run, np.eye(4))
        answer = self._answer(run, look)
        pose = self._pose(run, look, answer[0])
        for note in notes_on_pose(pose):
            _tell(run.notes, note)
        straightening = None if pose is None else pose.straightening()
        if pose is None or straightening is None:
            return look, *answer, None
        how = f"turned by {pose.degrees:.0f} degrees and {pose.size:.2f} times as large as in the training images"
        logger.info("The patient is %s: looking again, turned straight and at the usual size.", how)
        try:
            second = self._prepare(run, straightening, look.part.plan.count)
            return second, *self._answer(run, second), pose
        except (DeviceError, GeometryError, NotEnoughMemoryError, MemoryError) as error:
            _tell(
                run.notes,
                f"The patient is {how}, and could not be looked at again, turned straight and at the usual size: take the result "
                f"with care. {error}".rstrip(),
            )
            return look, *answer, None

    def _prepare(self, run: Run, turn: np.ndarray, before: int = 0) -> Look:
        """A look at the patient whose points are moved by ``turn`` (4, 4), RAS mm, first.

        Raises:
            GeometryError: the volume is none of a patient, or the region lies beside it.
            NotEnoughMemoryError: main memory does not hold what a look takes.
        """
        grid = self._grid(run.volume, turn @ run.volume.affine)
        region = run.region and BoxRegion(run.region.matrix @ np.linalg.inv(turn))
        if region is not None:
            region.bounds(grid.input_shape, grid.input_affine)  # beside the volume it is refused at once
        image, box = prepare_image(run.volume.array, grid, self.config.preprocessing)
        part = plan_part(grid, box, self.config.preprocessing["patch_size"], run.overlap, region)
        asked = self._asked_within_memory(run.rows, part, run.maps, run.notes)
        run.cancel.check()
        return Look(image, part, asked, before)

    def _answer(self, run: Run, look: Look) -> tuple[torch.Tensor, torch.device, torch.dtype]:
        """Probabilities, and what computed them."""
        logits, device, dtype = self._run_with_fallback(run, look)
        return self._scores(logits, run.rows, look.asked, look.part, dtype), device, dtype

    def _pose(self, run: Run, look: Look, scores: torch.Tensor) -> Pose | None:
        """How the patient lies, where the model knows the places of its classes and enough of them were found."""
        centres = {fold_name(name): middle for name, middle in self.config.class_centres.items()}
        if not centres or self.config.nested or not self.config.preprocessing["body_axes"]:
            return None
        classes = run.rows.classes(look.asked)
        known = {place: centres[name] for place, name in enumerate(classes, start=1) if name in centres}
        return find_pose(scores.argmax(0).numpy(), look.part.grid.affine, known, look.part.near)

    def _run_with_fallback(self, run: Run, look: Look) -> tuple[torch.Tensor, torch.device, torch.dtype]:
        """Sliding windows; when the GPU's memory is short: smaller batches, then blending on the CPU, then the CPU."""
        text = self._encode(look.asked)
        mirror = self._mirror(run.rows, look.asked) if run.flips and self.config.preprocessing["mirror_sides"] else None
        axes = self.config.preprocessing["flip_axes" if run.flips else "always_flip"]
        if run.flips and not axes and mirror is None:
            _tell(run.notes, "No mirrored versions were used: this model allows none, or knows none of the texts.")
        cpu = torch.device("cpu")
        for device, batch, accumulate, note in self._attempts(run.batch_size):
            if note:
                _tell(run.notes, note)
            timer = WindowTimer(run.report, look.before)
            dtype = self.dtype if device == self.device else resolve_precision("auto", device)
            try:
                self.model.to(device)
                logits = sliding_window_logits(
                    self.model,
                    look.image,
                    text,
                    device=device,
                    dtype=dtype,
                    overlap=run.overlap,
                    batch_size=batch,
                    flip_axes=axes,
                    mirror=mirror,
                    plan=look.part.plan,
                    accumulate_on=accumulate,
                    on_window=timer,
                    cancel=run.cancel,
                )
                return logits.to(cpu), device, dtype
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
            except (RuntimeError, MemoryError) as error:
                if device.type == "cpu" and ("can't allocate memory" in str(error) or isinstance(error, MemoryError)):
                    break
                if not (device.type == "mps" and "out of memory" in str(error)):
                    raise
            finally:
                self.model.to(self.device)
        raise NotEnoughMemoryError(
            "There is not enough memory to segment this volume; choose a region, ask for fewer organs, or use a computer with "
            "more memory."
        )

    def _attempts(self, batch_size: int | None) -> Iterator[tuple[torch.device, int, torch.device, str]]:
        """(device, windows at a time, device of the blended logits, note for the user) from best to last resort."""
        cpu = torch.device("cpu")
        if self.device.type == "cpu":
            yield self.device, batch_size or 1, cpu, ""
            return
        batch = batch_size or GPU_BATCH
        yield self.device, batch, self.device, ""
        while batch > 1:
            batch //= 2
            yield (
                self.device,
                batch,
                self.device,
                f"The GPU's memory is short: going on with {batch} window(s) at a time.",
            )
        yield self.device, 1, cpu, "The GPU's memory is short: the windows are put together in main memory."
        yield cpu, 1, cpu, "The GPU's memory does not hold one window: going on with the processor, which is slower."

    def _grid(self, volume: Volume, affine: np.ndarray) -> WorkingGrid | TurnedGrid:
        """Raises GeometryError where the volume is none of a patient, NotEnoughMemoryError where its image does not fit."""
        try:
            grid = plan_grid(volume.array.shape[1:], affine, self.config.preprocessing)
        except GeometryError as error:
            raise GeometryError(f"'{volume.source}': {error}") from error
        check_field_of_view(volume, grid)
        _check_memory(self._memory_of_image(grid))
        return grid

    def _memory_of_image(self, grid: WorkingGrid | TurnedGrid) -> float:
        return float(np.prod(grid.shape, dtype=float)) * 8 * self.config.in_channels

    def _asked_within_memory(self, rows: Rows, part: Part, maps: int, notes: list[str]) -> list[Concept]:
        """What the network is asked for: without the rows that nobody wants to see where the memory is short."""
        asked = rows.asked()
        try:
            _check_memory(self._memory(part, len(asked), maps))
        except NotEnoughMemoryError:
            asked = rows.asked(alone=True)
            _check_memory(self._memory(part, len(asked), maps))
            _tell(notes, _ALONE_NOTE)
        return asked

    def _memory(self, part: Part, rows: int, maps: int) -> float:
        """Bytes for the blended logits, the image, weights and the result with its ``maps`` of probabilities, which are kept
        in two sizes and, of a part, in a third."""
        voxels = float(np.prod(part.grid.shape, dtype=float))
        whole, block = (float(np.prod(grid.input_shape, dtype=float)) for grid in (part.whole, part.grid))
        need = voxels * 4 * (rows + 3) + self._memory_of_image(part.whole)
        return need + whole * 4 + maps * 4 * (voxels + block + (whole if part.grid is not part.whole else 0))

    # ---- result ----------------------------------------------------------------------------------------------------

    @property
    def _first(self) -> int:
        """Place of the first row among the scores."""
        return 0 if self.config.nested else 1

    def _scores(
        self, logits: torch.Tensor, rows: Rows, asked: list[Concept], part: Part, dtype: torch.dtype
    ) -> torch.Tensor:
        """Probabilities in place of the logits, of which nothing is left that does not belong into a result.

        Raises DeviceError where the network gave no numbers.
        """
        if not torch.stack(logits.aminmax()).isfinite().all():
            raise DeviceError(
                f"The network gave values that are no numbers, computing in {_name(dtype)}; choose the precision fp32. If it "
                "does so again, the model is damaged."
            )
        scores = probabilities_(logits, self.config.nested)
        part.forget_surroundings_(scores, self.config.nested)
        shares = {place + self._first: share for place, share in rows.smallest_pieces(asked).items()}
        take_away_small_pieces_(scores, shares, self.config.nested)
        return scores

    def _labelmap(
        self, scores: torch.Tensor, keep: list[int], part: Part, rows: Rows
    ) -> tuple[np.ndarray, dict[str, float]]:
        """Labels on the input grid, and how sure the model is of each class, whether or not it has a voxel there: its mean
        probability inside the class, at working resolution."""
        table = rows.table
        if self.config.nested:
            scores = scores[keep]
            confidence = [mean_where(score, score > 0.5) for score in scores]
            labelmap = labelmap_on_input_grid(scores, part.grid, exclusive=False)
            return part.on_whole_input(labelmap), dict(zip(table.names, confidence, strict=True))
        winner = scores.argmax(0)
        values = np.zeros(len(scores), int)  # of the rows in the table, by place; what nobody asked for is background
        twins = [] if self.config.head == "fixed" else rows.rivals().values()
        empty = {row.name for _, *others in twins for row in others}
        confidence = []
        for number, (row, place) in enumerate(zip(table, keep, strict=True), start=1):
            values[place + 1] = values[place + 1] if row.name in empty else number
            confidence.append(mean_where(scores[place + 1], winner == place + 1))
        labelmap = labelmap_on_input_grid(scores, part.grid)
        if values.tolist() != list(range(len(scores))):
            labelmap = values.astype(labelmap.dtype)[labelmap]
        return part.on_whole_input(labelmap), dict(zip(table.names, confidence, strict=True))


def segment(
    source: VolumeSource,
    model: PathLike = "cardiac-mr",
    concepts: PathLike | ConceptSet | None = None,
    device: str = "auto",
    precision: str = "auto",
    **options: Any,
) -> SegmentationResult:
    """Segments one volume with a model that is loaded for it; ``options`` as in :meth:`Segmenter.segment`.

    Example::

        import BiPVLSegLib as bipvl
        result = bipvl.segment("scan.nii.gz", model="cardiac-mr", concepts="cine-mr")
        result.save("scan.seg.nrrd")
    """
    if isinstance(source, (str, os.PathLike)) and not Path(source).exists():
        raise InputError(f"There is no file or folder {source}.")  # before the model is loaded
    return Segmenter(model, device, precision).segment(source, concepts, **options)


def _check_memory(need: float) -> None:
    """Refuses at once what main memory cannot hold."""
    available = available_memory()
    if available is not None and need > available:
        raise NotEnoughMemoryError(
            f"Segmenting this volume takes about {need / 2**30:.1f} GiB of memory and {available / 2**30:.1f} GiB are free; "
            "choose a region, ask for fewer organs at a time, or close other programs."
        )


def _tell(notes: list[str], note: str) -> None:
    if note not in notes:
        logger.warning(note)
        notes.append(note)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
