"""The training loop."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ..concepts import ConceptSet, load_concepts, write_csv
from ..data.datalist import Datalist, read_datalist
from ..data.presets import Preset, get_preset
from ..errors import OutputError, TrainingError
from ..inference.device import describe_device
from ..model.loading import quiet
from . import distributed
from .binding import bind
from .checkpoint import alone_in, load_training_state, recover_folder, replace_folder, save_training_state
from .logs import RunLog
from .rehearsal import check_rehearsal, rehearse
from .run import TrainingRun
from .schedule import learning_rate
from .settings import RunSettings
from .validation import Validator

LOG_EVERY = 10


def train(
    data: Sequence[str | Path],
    concepts: str | Path | None,
    preset: str,
    output: str | Path,
    overrides: Sequence[str] = (),
    resume: bool = False,
    stop_after: int | None = None,
) -> dict[str, float]:
    """Trains a model and writes ``output/best`` and ``output/last`` (model folders), ``log.csv`` and TensorBoard events.

    Started by ``torchrun`` it is one of several processes that train together; the first one writes. ``batch_size`` is that of
    all of them together.

    Args:
        data: Decathlon datalists. With several, each volume is asked only for the classes that its data set labels.
        concepts: bundled concept set or CSV; None takes the preset's.
        preset: see ``data.presets``.
        output: folder of the run.
        overrides: "key=value" settings, see ``RunSettings.from_preset``.
        resume: continue the run in ``output``; the losses are those of an uninterrupted run.
        stop_after: end this call after that many steps in all, as if killed there (the schedule is unchanged).

    Returns:
        Dice per class of the last validation.

    Raises:
        BiPVLError: data, concepts or settings cannot be used.
    """
    chosen = get_preset(preset)
    settings = RunSettings.from_preset(chosen, overrides)
    table, datalists = load_concepts(concepts or chosen.concepts), [read_datalist(path) for path in data]
    with distributed.process_group(settings.training.device) as device, ExitStack() as at_end:
        settings.training.device = device
        return _train(datalists, table, chosen, settings, Path(output), resume, stop_after, at_end)


def _train(
    datalists: list[Datalist],
    concepts: ConceptSet,
    preset: Preset,
    settings: RunSettings,
    output: Path,
    resume: bool,
    stop_after: int | None,
    at_end: ExitStack,
) -> dict[str, float]:
    last, writer = output / "last", distributed.rank() == 0
    _refuse_another_run(output, resume)
    _take_folder(output, at_end)
    run = TrainingRun(datalists, concepts, preset, settings, last if resume else None)
    t, steps = run.training, run.steps
    if t.rehearsal and not resume:
        check_rehearsal(run)
    first, best = load_training_state(last, run) if resume else (0, -1.0)
    log = RunLog(output, first if resume else None) if writer else None
    checkpoints = Checkpoints(run, output, log, recorded_scores(last) if resume else {}, best)
    _prepare(run, resume)
    run.distribute()
    end = min(steps, stop_after or steps)
    bar = tqdm(total=steps, initial=first, desc="Training", unit="step", disable=not writer)
    at_end.callback(bar.close)
    batches, pace = run.batches(first, end), Pace(t.batch_size)
    health = torch.zeros((), device=run.device)  # becomes NaN with the first loss or gradient that is no number
    for step in range(first, end):
        with pace.waiting():
            batch = next(batches)
        loss, parts, norm = _step(run, step, batch)
        health += 0 * loss.detach() + (0 if run.scaler.is_enabled() else 0 * norm)  # fp16 may overflow now and then
        done = step + 1
        pace.count()
        bar.update()
        validate = done == end or bool(t.validate_every and done % t.validate_every == 0)
        if done % LOG_EVERY == 0 or validate:
            values = distributed.averaged({**parts, "gradient_norm": norm, "health": health})
            if not math.isfinite(values.pop("health")):
                raise TrainingError(
                    f"The loss is no longer a number after step {done}; the checkpoints of {output} are kept. Start again "
                    "with a lower learning_rate or with precision=fp32."
                )
            values |= pace.report()
            if log is not None:
                log.write(done, values)
            bar.set_postfix(loss=f"{values['segmentation']:.3f}", best=f"{max(checkpoints.best, 0):.3f}")
        if validate:
            checkpoints.write(done)
            pace.restart()
    if not steps and not resume:
        checkpoints.write(0)
    bar.close()
    if log is not None:
        log.close()
    return checkpoints.scores


def _refuse_another_run(output: Path, resume: bool) -> None:
    """Raises TrainingError where there is a run that is not to be resumed; one that was killed while it wrote is mended first."""
    folders = output / "last", output / "best"
    if distributed.rank() == 0:
        for folder in folders:
            recover_folder(folder)
    distributed.wait_for_all()
    there = [folder for folder in folders if folder.exists()]
    if there and not resume:
        way = "use --resume to continue it or " if there[0].name == "last" else ""
        raise TrainingError(f"There is already a run in {output} ({there[0].name}); {way}choose another folder.")


def _take_folder(output: Path, at_end: ExitStack) -> None:
    """The folder of the run, before the long work. One that is made for a run which does not begin goes again.

    Raises:
        TrainingError: another training writes there.
        OutputError: nothing can be written there.
    """
    new = [folder for folder in (output, *output.parents) if not folder.exists()]
    try:
        output.mkdir(parents=True, exist_ok=True)
        if distributed.rank() == 0:
            at_end.callback(_remove_empty, new)
            at_end.enter_context(alone_in(output))
    except OSError as error:
        raise OutputError(f"The folder {output} cannot be written ({error.strerror}); choose another one.") from error


def _remove_empty(folders: list[Path]) -> None:
    """Those that are empty, from the innermost one on."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _prepare(run: TrainingRun, resume: bool) -> None:
    """What comes before the first step: the volumes, and in a run that begins the texts."""
    t, writer = run.training, distributed.rank() == 0
    bar = partial(tqdm, disable=not writer)
    found = run.patches.fill(
        lambda items: bar(items, desc="Preparing volumes", unit="volume"), distributed.rank(), distributed.count()
    )
    run.patches.check_found([any(parts) for parts in zip(*distributed.gathered_objects(found), strict=True)])
    if resume:
        return
    if run.start.channels is not None:
        left = bind(run, run.start.channels, bar=partial(bar, desc="Binding the texts", unit="step"))
        told = f"The texts were bound to the channels of {t.init_from}; {left:.0%} of their variance is left."
    elif t.rehearsal:
        left = rehearse(run, t.rehearsal, bar=partial(bar, desc="Rehearsing the texts", unit="step"))
        told = f"Other words now say what the table's own say, but for {left:.1%} of the variance over classes."
    else:
        return
    if writer:
        tqdm.write(told)


def _step(run: TrainingRun, step: int, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """One step of the optimiser: the loss, its parts, and the length of the gradient before it was clipped."""
    t = run.training
    run.train_mode()
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(step, run.steps, t.learning_rate, t.warmup, t.schedule)
    with run.rounding.applied(step):
        loss, parts = run.step_loss(step, batch)
        run.scaler.scale(loss).backward()
    run.scaler.unscale_(run.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(run.parameters(), t.clip)
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
    return loss, parts, norm


class Checkpoints:
    """Judges the model now and then, and writes it: ``best`` when it is that, ``last`` always.

    Args:
        log: None in all processes but the one that writes.
        scores: Dice of the last validation, and ``best`` the mean Dice of the best one, of a run that is resumed.
    """

    def __init__(self, run: TrainingRun, output: Path, log: RunLog | None, scores: dict[str, float], best: float):
        self.run, self.output, self.log, self.scores, self.best = run, output, log, scores, best
        self.validator = Validator(run)

    def write(self, done: int) -> None:
        """Raises OutputError where the disk is full; what was written before stays."""
        with self.run.rounding.applied():
            scores = self.scores = self.validator()
        better = not scores or scores["dice/mean"] > self.best  # without validation volumes the newest is the best
        self.best = scores.get("dice/mean", self.best) if better else self.best
        if self.log is not None:
            self.log.write(done, scores)
            if scores:
                tqdm.write(f"step {done}: " + ", ".join(f"{k[5:]} {v:.3f}" for k, v in scores.items()))
            model = partial(write_model, run=self.run, step=done, scores=scores)
            if better:
                replace_folder(self.output / "best", model)
            replace_folder(
                self.output / "last", partial(write_last, run=self.run, step=done, scores=scores, best=self.best)
            )
        distributed.wait_for_all()


class Pace:
    """How fast a run goes, and which share of the time it waits for patches, since it was last asked."""

    def __init__(self, batch_size: int):
        self.batch_size = batch_size
        self.restart()

    def restart(self) -> None:
        self.started, self.waited, self.steps = time.monotonic(), 0.0, 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        before = time.monotonic()
        yield
        self.waited += time.monotonic() - before

    def count(self) -> None:
        self.steps += 1

    def report(self) -> dict[str, float]:
        elapsed = max(time.monotonic() - self.started, 1e-9)
        values = {"patches_per_second": self.steps * self.batch_size / elapsed, "data_share": self.waited / elapsed}
        self.restart()
        return values


def recorded_scores(folder: Path) -> dict[str, float]:
    """Dice of the last validation of a run, for one that is resumed when it has nothing left to do.

    Raises:
        TrainingError: the file with them is damaged or missing.
    """
    file = folder / "training.json"
    try:
        return json.loads(file.read_text(encoding="utf-8"))["validation"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{file} is damaged or missing ({error}), so the run cannot be resumed; start it again."
        ) from error


def write_model(folder: Path, run: TrainingRun, step: int, scores: dict[str, float]) -> None:
    """A model folder that ``segment --model`` takes: weights, config, concept texts and how it was trained."""
    with quiet(), run.rounding.applied():
        run.model.save_pretrained(folder)
    write_csv(run.concepts, folder / "concepts.csv")
    settings = run.fingerprint()
    del settings["data"]
    record = {
        "step": step,
        "validation": scores,
        "preset": run.preset.name,
        "data": [datalist.name for datalist in run.datalists],
        "training_volumes": len(run.patches.items),
        "device": describe_device(run.device),
        "settings": settings,
    }
    (folder / "training.json").write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")


def write_last(folder: Path, run: TrainingRun, step: int, scores: dict[str, float], best: float) -> None:
    """The last state: a model folder and what is needed to continue."""
    write_model(folder, run, step, scores)
    save_training_state(folder, run, step, best)
