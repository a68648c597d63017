"""Runs a comparison: every variant with every seed, each phase in a process of its own, and the table after every run.

This process waits and imports no torch, so that its memory is nobody's.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ..data.datalist import read_datalist
from ..data.presets import get_preset
from ..data.rows import RowSampling
from ..errors import InputError, OutputError, TrainingError
from .job import FAILURE, PHASES, TRAINED, Job, read_result
from .table import Entry, write_tables
from .variants import Variant

CHECKPOINTS = 10  # per run: where an interrupted one continues
INTERRUPTED = 130
Launch = Callable[[str, Path], "str | None"]


def compare(
    data: Sequence[str | Path],
    preset: str,
    steps: int,
    output: str | Path,
    variants: Sequence[Variant],
    seeds: Sequence[int] = (0,),
    *,
    test_data: Sequence[str | Path] = (),
    split: str = "validation",
    limit: int | None = None,
    concepts: str | Path | None = None,
    overrides: Sequence[str] = (),
    special: dict[str, Sequence[str]] | None = None,
    launch: Launch | None = None,
    report: Callable[[str], None] = print,
) -> str:
    """Trains and tests every variant with every seed; returns the table, which also lies in ``output``.

    Finished runs are skipped, started ones resumed, failed ones tried again. A run that fails becomes a line in the table.

    Args:
        data: Decathlon datalists to train on.
        preset: see ``data.presets``.
        steps: optimiser steps of each run.
        output: folder of the comparison.
        variants, seeds: what is run, all variants of one seed before the next seed.
        test_data: datalists whose ``split`` is scored; none: those of ``data``.
        limit: only the first so many volumes of each of them.
        concepts: concept set or CSV; None takes the preset's.
        overrides: settings for all variants.
        special: further settings by variant name; the table names them.
        launch: runs a phase ("train", "test") of the run in a folder and returns why it failed, or None.
        report: is told what happens.

    Raises:
        BiPVLError: data, preset or folder cannot be used.
    """
    get_preset(preset)
    output, special, launch = Path(output), special or {}, launch or in_own_process
    unknown = sorted(set(special) - {variant.name for variant in variants})
    if unknown:
        raise InputError(f"There are settings for {', '.join(unknown)}, which is not compared; add it to the variants.")
    fixed = [setting for setting in overrides if setting.partition("=")[0].strip() in ("steps", "epochs", "seed")]
    if fixed:
        raise InputError(f"{fixed[0]} would not count: the steps and seeds of a comparison are given by themselves.")
    trained, tested = ([read_datalist(path) for path in paths] for paths in (data, test_data))
    for datalist in tested or trained:
        datalist.labelled(split)
    files = [datalist.path for datalist in (*trained, *tested)]
    if concepts is not None and Path(concepts).is_file():
        concepts = Path(concepts).resolve()
        files.append(concepts)
    contents = hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()
    jobs = []
    for seed in dict.fromkeys(seeds):
        for variant in variants:
            folder = output / variant.name / f"seed-{seed}"
            # The test takes the weights of the last step, so validation only says where an interrupted run continues.
            common = (f"validate_every={max(1, steps // CHECKPOINTS)}", "validation_cases=1", *overrides)
            own = (f"steps={steps}", "epochs=0", f"seed={seed}", *variant.overrides, *special.get(variant.name, ()))
            job = Job(
                variant.name, seed, _absolute(data), _absolute(test_data or data), split, limit, preset,
                None if concepts is None else str(concepts), [*common, *own], asdict(RowSampling()), contents,
            )  # fmt: skip
            jobs.append((folder, job))
    check_settings(preset, [job.overrides for _, job in jobs])
    try:
        for folder, job in jobs:
            job.put_into(folder)
    except OSError as error:
        raise OutputError(f"The folder {output} cannot be used ({error.strerror}); choose another one.") from error
    entries = [
        Entry(variant, tuple(special.get(variant.name, ())), [f for f, job in jobs if job.variant == variant.name])
        for variant in variants
    ]
    for number, (folder, job) in enumerate(jobs, start=1):
        run_job(
            folder,
            launch,
            lambda text, n=number, j=job: report(f"[{n}/{len(jobs)}] {j.variant}, seed {j.seed}: {text}"),
        )
        table = write_tables(output, entries)
    return table


def run_job(folder: Path, launch: Launch, report: Callable[[str], None]) -> None:
    """Runs the phases that are left of one run."""
    if read_result(folder) is not None:
        report("is done already")
        return
    (folder / FAILURE).unlink(missing_ok=True)
    for phase in PHASES:
        if phase == "train" and (folder / TRAINED).is_file():
            continue
        report(f"{phase}ing")
        reason = launch(phase, folder)
        if reason is not None:
            (folder / FAILURE).write_text(f"{phase}ing: {reason}", encoding="utf-8")
            report(f"failed: {reason}")
            return
    report(f"mean Dice {100 * (read_result(folder)['mean_dice'] or 0):.2f} %")


def check_settings(preset: str, overrides: Sequence[Sequence[str]]) -> None:
    """Raises TrainingError where one of the ``overrides`` is no setting; asks a process of its own, since that imports torch."""
    done = _work("check", preset, input=json.dumps(list(overrides)), stdout=subprocess.PIPE, text=True)
    if done.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    if done.returncode:
        raise TrainingError(done.stdout.strip() or f"The settings could not be checked (code {done.returncode}).")


def in_own_process(phase: str, folder: Path) -> str | None:
    """Runs a phase in a process of its own, so that memory and failures are its own, too."""
    code = _work(phase, str(folder.resolve())).returncode
    if code == 0:
        return None
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if (folder / FAILURE).is_file():
        return (folder / FAILURE).read_text(encoding="utf-8")
    if code < 0:
        return f"its process was ended by signal {-code}; 9 most often means that memory was full"
    return f"its process ended with code {code}"


def _work(*arguments: str, **options) -> subprocess.CompletedProcess:
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([package, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    command = [sys.executable, "-m", "BiPVLSegLib.comparison.work", *arguments]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, **options)


def _absolute(paths: Sequence[str | Path]) -> list[str]:
    return [str(Path(path).resolve()) for path in paths]
