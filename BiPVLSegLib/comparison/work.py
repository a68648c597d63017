"""``python -m BiPVLSegLib.comparison.work train|test FOLDER``: the work of one run, in a process of its own.

``check PRESET`` reads a JSON list of lists of settings from standard input and prints what is wrong with them.

Both phases are those that a user runs: training as ``train`` does it, the test as ``evaluate`` does it, on the inputs' own
grids with the post-processing of the preset.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from pathlib import Path
from statistics import median

from ..errors import BiPVLError
from .job import FAILURE, RESULT, STEPS, TRAINED, read_job, write_json
from .meters import StepClock, peak_gpu_memory_gb, peak_memory_gb, seconds_per_step


def train(folder: Path) -> None:
    """Trains, or continues where an interrupted training was."""
    from ..training.checkpoint import recover_folder
    from ..training.loop import train as train_model

    job, run = read_job(folder), folder / "run"
    recover_folder(run / "last")
    started = (run / "last").exists()
    with StepClock(folder / STEPS):
        train_model(job.data, job.concepts, job.preset, run, job.overrides, resume=started)
    write_json(folder / TRAINED, {"memory_gb": peak_memory_gb(), "gpu_memory_gb": peak_gpu_memory_gb()})


def test(folder: Path) -> None:
    """Tests the weights of the last step, so that nothing was chosen on the volumes that are scored."""
    from ..data.presets import get_preset
    from ..evaluation.evaluate import evaluate
    from ..evaluation.report import summarise
    from ..training.settings import RunSettings

    job, last = read_job(folder), folder / "run" / "last"
    settings = RunSettings.from_preset(get_preset(job.preset), job.overrides).training
    cases, details = [], {}
    for number, data in enumerate(job.test_data):
        report = folder / f"report-{number}"
        evaluate(
            data, job.split, last, report,
            limit=job.limit, overlays=0, device=settings.device, precision=settings.precision,
        )  # fmt: skip
        written = json.loads((report / "report.json").read_text(encoding="utf-8"))
        details = written["details"]
        cases += [{**case, "case": f"{number}/{case['case']}"} for case in written["cases"]]
    summary = summarise(cases)
    record = json.loads((last / "training.json").read_text(encoding="utf-8"))
    per_step = seconds_per_step(folder / STEPS)
    trained = json.loads((folder / TRAINED).read_text(encoding="utf-8"))
    write_json(
        folder / RESULT,
        {
            "variant": job.variant,
            "seed": job.seed,
            "steps": record["step"],
            "mean_dice": summary["mean_dice"],
            "dice": {name: scores["dice"]["mean"] for name, scores in summary["classes"].items()},
            "cases": {
                case["case"]: {name: scores["dice"] for name, scores in case["classes"].items()} for case in cases
            },
            **_parameters(last, settings.freeze_text),
            "seconds_per_step": per_step,
            "training_minutes": None if per_step is None else per_step * record["step"] / 60,
            "seconds_per_volume": median(case["seconds"] for case in cases),
            "training_memory_gb": trained["memory_gb"],
            "training_gpu_memory_gb": trained["gpu_memory_gb"],
            "test_memory_gb": peak_memory_gb(),
            "test_gpu_memory_gb": peak_gpu_memory_gb(),
            "device": details["device"],
            "precision": details["precision"],
            "overrides": job.overrides,
        },
    )


def _parameters(model_folder: Path, freeze_text: bool) -> dict[str, int]:
    """All parameters of a model, and those without a frozen text encoder's."""
    from ..model import load_model

    sizes = {name: p.numel() for name, p in load_model(model_folder).named_parameters()}
    frozen = sum(size for name, size in sizes.items() if freeze_text and name.startswith("text.bert."))
    return {"parameters": sum(sizes.values()), "trainable_parameters": sum(sizes.values()) - frozen}


def check(preset: str) -> None:
    """Raises TrainingError where the settings on standard input are none of the preset."""
    from ..data.presets import get_preset
    from ..training.settings import RunSettings

    for overrides in json.load(sys.stdin):
        RunSettings.from_preset(get_preset(preset), overrides)


WORK = {"train": train, "test": test}


def do(phase: str, folder: Path) -> str | None:
    """Runs a phase in this process; what it failed of in one sentence, or None."""
    try:
        WORK[phase](folder)
    except BiPVLError as error:
        return str(error)
    return None


def main(phase: str, folder: Path) -> int:
    """Runs a phase, leaves the reason of a failure in the folder, and returns the exit code."""
    from ..cli.main import EXIT_ERROR, EXIT_INTERRUPTED

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="monai|torch|transformers")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        reason = do(phase, folder)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except Exception as error:  # whatever a variant fails of becomes its line in the table, and the others go on
        (folder / FAILURE).write_text(f"{type(error).__name__}: {error}".splitlines()[0], encoding="utf-8")
        raise
    if reason is not None:
        (folder / FAILURE).write_text(reason, encoding="utf-8")
        return EXIT_ERROR
    return 0


def main_check(preset: str) -> int:
    """Runs :func:`check`, prints what is wrong, and returns the exit code."""
    from ..cli.main import EXIT_ERROR, EXIT_INTERRUPTED

    try:
        check(preset)
    except BiPVLError as error:
        print(error)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main_check(sys.argv[2]) if sys.argv[1] == "check" else main(sys.argv[1], Path(sys.argv[2])))
