"""What does the text cost in training? Seconds of a training step, variants of the comparison in turns.

    python Testing/Benchmarks/benchmark_training.py [VARIANT ...] [--rounds N] [--set KEY=VALUE ...]

On generated hearts, with the ``acdc`` preset. The variants (names of ``BiPVLSegLib/comparison/variants.py``; default: no-text,
ours) take turns in one process (A B A B ...), so that other work on the machine hits all of them. A step is draw, forward,
losses, backward and update; patches are made before the clock starts. The steps are spread over a whole training, since the
variety of rows grows.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
WARM_UP = 3  # steps of each variant that are not counted


def main() -> None:
    sys.path.insert(0, str(REPOSITORY))
    from BiPVLSegLib.comparison.variants import REFERENCE, chosen_variants
    from BiPVLSegLib.data.phantom_dataset import write_phantom_dataset

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs="*", default=[REFERENCE, "ours"], metavar="VARIANT")
    parser.add_argument("--rounds", type=int, default=30, metavar="N", help="counted steps of each (default: 30)")
    parser.add_argument("--set", dest="overrides", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = write_phantom_dataset(Path(folder) / "hearts", training=4, validation=1)
        steps = {v.title: _stepper(data, [*v.overrides, *options.overrides]) for v in chosen_variants(options.variants)}
        seconds: dict[str, list[float]] = {title: [] for title in steps}
        for number in range(WARM_UP + options.rounds):
            for title, step in steps.items():
                spent = step(number, number / (WARM_UP + options.rounds))
                if number >= WARM_UP:
                    seconds[title].append(spent)
    first = next(iter(seconds.values()))
    print(f"{'variant':45}{'s/step':>8}{'ratio':>8}   (medians; ratio to the first, step by step)")
    for title, found in seconds.items():
        ratio = statistics.median(b / a for a, b in zip(first, found, strict=True))
        print(f"{title:45}{statistics.median(found):8.3f}{ratio:8.2f}")


def _stepper(data: Path, overrides: list[str]):
    """A call that does one training step of a variant and gives its seconds."""
    import torch

    from BiPVLSegLib.concepts import load_concepts
    from BiPVLSegLib.data.datalist import read_datalist
    from BiPVLSegLib.data.presets import get_preset
    from BiPVLSegLib.training.run import TrainingRun
    from BiPVLSegLib.training.settings import RunSettings

    preset = get_preset("acdc")
    settings = RunSettings.from_preset(preset, ["workers=0", *overrides])
    run = TrainingRun([read_datalist(data)], load_concepts(preset.concepts), preset, settings)
    run.patches.fill()
    run.train_mode()
    batches = list(run.batches(0, 4))

    def step(number: int, done: float) -> float:
        started = time.perf_counter()
        loss, _parts = run.step_loss(int(done * run.steps), batches[number % len(batches)])
        run.scaler.scale(loss).backward()
        run.scaler.unscale_(run.optimizer)
        torch.nn.utils.clip_grad_norm_(run.parameters(), run.training.clip)
        run.scaler.step(run.optimizer)
        run.scaler.update()
        run.optimizer.zero_grad(set_to_none=True)
        if run.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    return step


if __name__ == "__main__":
    main()
