"""The training loop."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from ..concepts import load_concepts, write_csv
from ..data.datalist import read_datalist
from ..data.presets import get_preset
from ..errors import OutputError, TrainingError
from ..inference.device import describe_device
from ..model.loading import quiet
from .checkpoint import load_training_state, recover_folder, replace_folder, save_training_state
from .logs import RunLog
from .run import TrainingRun
from .schedule import learning_rate
from .settings import RunSettings
from .validation import Validator

LOG_EVERY = 10


def train(
    data: list[str | Path],
    concepts: str | Path | None,
    preset: str,
    output: str | Path,
    overrides: list[str] = (),
    resume: bool = False,
    stop_after: int | None = None,
) -> dict[str, float]:
    """Trains a model and writes ``output/best`` and ``output/last`` (model folders), ``log.csv`` and TensorBoard events.

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
    output = Path(output)
    last, best_folder = output / "last", output / "best"
    recover_folder(last)
    recover_folder(best_folder)
    if last.exists() and not resume:
        raise TrainingError(
            f"There is already a run in {output}; use --resume to continue it or choose another folder."
        )
    preset = get_preset(preset)
    settings = RunSettings.from_preset(preset, overrides)
    run = TrainingRun(
        [read_datalist(path) for path in data], load_concepts(concepts or preset.concepts), preset, settings
    )
    t = run.training
    steps = t.steps if not t.epochs else max(1, round(t.epochs * len(run.patches.items) / t.batch_size))
    first, best = load_training_state(last, run) if resume else (0, -1.0)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {output} cannot be made ({error.strerror}); choose another one.") from error
    end = min(steps, stop_after or steps)
    log, validator, scores = RunLog(output, first), Validator(run), recorded_scores(last) if resume else {}
    run.patches.fill(lambda items: tqdm(items, desc="Preparing volumes", unit="volume"))
    bar = tqdm(total=steps, initial=first, desc="Training", unit="step")
    batches, started = run.batches(first, end), time.monotonic()

    for step in range(first, end):
        waited = time.monotonic()
        batch = next(batches)
        waited = time.monotonic() - waited
        run.train_mode()
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, t.learning_rate, t.warmup, t.schedule)
        loss, parts = run.step_loss(step, batch)
        run.scaler.scale(loss).backward()
        run.scaler.unscale_(run.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(run.parameters(), t.clip)
        run.scaler.step(run.optimizer)
        run.scaler.update()
        run.optimizer.zero_grad(set_to_none=True)

        done = step + 1
        bar.update()
        if done % LOG_EVERY == 0 or done == end:
            rate = (done - first) * t.batch_size / (time.monotonic() - started)
            values = {name: value.item() for name, value in parts.items()}
            log.write(done, {**values, "gradient_norm": norm.item(), "patches_per_second": rate, "data_wait_s": waited})
            bar.set_postfix(loss=f"{values['segmentation']:.3f}", best=f"{max(best, 0):.3f}")
        if done == end or (t.validate_every and done % t.validate_every == 0):
            scores = validator()
            log.write(done, scores)
            if scores:
                tqdm.write(f"step {done}: " + ", ".join(f"{k[5:]} {v:.3f}" for k, v in scores.items()))
            if not scores or scores["dice/mean"] > best:  # without validation volumes the newest is taken for the best
                best = scores.get("dice/mean", best)
                replace_folder(best_folder, partial(write_model, run=run, step=done, scores=scores))
            replace_folder(last, partial(write_last, run=run, step=done, scores=scores, best=best))

    bar.close()
    log.close()
    return scores


def recorded_scores(folder: Path) -> dict[str, float]:
    """Dice of the last validation of a run, for one that is resumed when it has nothing left to do."""
    return json.loads((folder / "training.json").read_text(encoding="utf-8"))["validation"]


def write_model(folder: Path, run: TrainingRun, step: int, scores: dict[str, float]) -> None:
    """A model folder that ``segment --model`` takes: weights, config, concept texts and how it was trained."""
    with quiet():
        run.model.save_pretrained(folder)
    write_csv(run.concepts, folder / "concepts.csv")
    record = {
        "step": step,
        "validation": scores,
        "preset": run.preset.name,
        "data": [datalist.name for datalist in run.datalists],
        "training_volumes": len(run.patches.items),
        "device": describe_device(run.device),
        "settings": run.fingerprint(),
    }
    record["settings"].pop("data")
    (folder / "training.json").write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")


def write_last(folder: Path, run: TrainingRun, step: int, scores: dict[str, float], best: float) -> None:
    """The last state: a model folder and what is needed to continue."""
    write_model(folder, run, step, scores)
    save_training_state(folder, run, step, best)
