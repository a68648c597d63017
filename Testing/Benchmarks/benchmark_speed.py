"""How fast are our networks, and how much memory do they take, next to MONAI's of the same size?

    python Testing/Benchmarks/benchmark_speed.py [--quick] [--repeats N] [--precision auto|bf16|fp32] [--threads N]

Weights are random (speed does not depend on them), the concept texts are the bundled ones of abdominal CT. The text of
stage 0 is encoded once before the clock starts, as in a run. The two networks of a ratio take turns in one process
(A B A B ...), so that other work on the machine hits both. Peak memory is that of a process of its own that builds one
network and runs one window: it includes Python and PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SCAN_MM = (400, 400, 300)  # field of view of the volume whose windows are counted
PATCH, QUICK_PATCH = 96, 64


@dataclass(frozen=True)
class Network:
    """One line of the table: ``build()`` gives a call image -> logits and the number of parameters."""

    title: str
    build: Callable[[], tuple[Callable, int]]


@dataclass(frozen=True)
class Ratio:
    """The median time of ``ours`` over that of ``other``, and the largest that is good enough."""

    ours: str
    other: str
    target: float


def ours(config, classes: int, bundled_text: bool):
    """Our network on the first ``classes`` rows of the abdominal table."""
    import torch

    from BiPVLSegLib.concepts import load_concepts
    from BiPVLSegLib.model import build_model
    from BiPVLSegLib.model.text_encoder import load_tokenizer, text_encoder_folder

    if bundled_text:
        model = build_model(config, "minilm")
    else:
        model = build_model(config, None)
        model.text.tokenizer = load_tokenizer(text_encoder_folder("minilm"))
    model.eval()
    with torch.inference_mode():
        text = model.encode(load_concepts("abdomen-ct").concepts[:classes])
    return lambda image: model(image, text), count_parameters(model)


def default_network(classes: int):
    from BiPVLSegLib.model import BiPVLSegConfig

    return ours(BiPVLSegConfig(), classes, bundled_text=True)


def paper_network():
    from BiPVLSegLib.model import paper_config

    return ours(paper_config(tuple(str(i) for i in range(15))), 15, bundled_text=False)


def swin_unetr():
    from monai.networks.nets import SwinUNETR

    model = SwinUNETR(in_channels=1, out_channels=16, feature_size=48, use_v2=True).eval()
    return model, count_parameters(model)


def dynunet():
    from monai.networks.nets import DynUNet

    from BiPVLSegLib.model import BiPVLSegConfig

    c = BiPVLSegConfig()
    model = DynUNet(
        3, 1, 16, c.kernels, c.strides, c.strides[1:], filters=c.widths, norm_name=("instance", {"affine": True}),
        res_block=True,
    ).eval()  # fmt: skip
    return model, count_parameters(model)


def count_parameters(model) -> int:
    return sum(p.numel() for p in model.parameters())


NETWORKS = {
    "swin-unetr": Network("MONAI SwinUNETR V2, feature size 48", swin_unetr),
    "paper": Network("ours, paper size, 15 classes", paper_network),
    "dynunet": Network("MONAI DynUNet, widths as ours", dynunet),
    "default": Network("ours, default, 15 classes", lambda: default_network(15)),
    "default-3": Network("ours, default, 3 classes", lambda: default_network(3)),
}
RATIOS = (Ratio("paper", "swin-unetr", 1.6), Ratio("default", "dynunet", 1.25), Ratio("default", "default-3", 1.3))
MEMORY_TARGETS = {"paper": 3.5}  # GB
TIME_TARGETS = {"default": 0.7}  # seconds per 96^3 on two cores with native bf16


# ---- in the processes that measure -------------------------------------------------------------------------------


def one_window(network: Callable, patch: int, dtype) -> float:
    """Seconds for one window."""
    import torch

    from BiPVLSegLib.inference.device import autocast

    image = torch.rand(1, 1, patch, patch, patch)
    started = time.perf_counter()
    with torch.inference_mode(), autocast(torch.device("cpu"), dtype):
        logits = network(image)
    seconds = time.perf_counter() - started
    if logits.shape[2:] != image.shape[2:]:
        raise RuntimeError(f"logits of shape {tuple(logits.shape)} for an image of shape {tuple(image.shape)}")
    return seconds


def measure(names: list[str], patch: int, precision: str, repeats: int) -> dict:
    """Times of each network, taking turns; parameters; peak memory of this process in GB."""
    import torch

    from BiPVLSegLib.inference.device import resolve_precision

    torch.manual_seed(0)
    dtype = resolve_precision(precision, torch.device("cpu"))
    built = {name: NETWORKS[name].build() for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats + 1):
        for name, (network, _) in built.items():
            seconds = one_window(network, patch, dtype)
            if turn:  # the first one chooses kernels and fills caches
                times[name].append(seconds)
    parameters = {name: count for name, (_, count) in built.items()}
    return {"times": times, "parameters": parameters, "peak": peak_memory(), "precision": str(dtype)[6:]}


def peak_memory() -> float | None:
    """Largest resident size of this process so far in GB; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


# ---- in the process that reports -------------------------------------------------------------------------------


def in_own_process(names: list[str], args: argparse.Namespace, repeats: int) -> dict:
    command = [sys.executable, __file__, "--measure", *names, "--precision", args.precision, "--repeats", str(repeats)]
    command += ["--quick"] if args.quick else []
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    if args.threads:
        environment["OMP_NUM_THREADS"] = str(args.threads)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def windows_per_volume() -> int:
    """Windows of ``SCAN_MM`` with the default model's patch, spacing and overlap."""
    from BiPVLSegLib.inference.sliding_window import count_windows
    from BiPVLSegLib.model.config import DEFAULT_PREPROCESSING as P

    shape = [round(mm / spacing) for mm, spacing in zip(SCAN_MM, P["spacing"], strict=True)]
    return count_windows(shape, P["patch_size"], P["overlap"])


def other_work() -> float:
    """How many cores were busy in the last minute, where the system tells and it is worth telling."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return load if load > 0.5 else 0.0


def verdict(value: float, target: float) -> str:
    return f"target {target:g}: {'met' if value <= target else 'MISSED'}"


def report(args: argparse.Namespace) -> None:
    busy = other_work()
    wanted = [ratio for ratio in RATIOS if not args.only or {ratio.ours, ratio.other} <= set(args.only)]
    pairs = {
        (ratio.ours, ratio.other): in_own_process([ratio.ours, ratio.other], args, args.repeats) for ratio in wanted
    }
    names = [name for name in NETWORKS if any(name in pair for pair in pairs)]
    alone = {name: in_own_process([name], args, 1) for name in names}
    windows = windows_per_volume()
    patch = QUICK_PATCH if args.quick else PATCH

    print(
        f"Windows of {patch}^3 voxels; a scan of {' x '.join(map(str, SCAN_MM))} mm takes {windows} windows of {PATCH}^3."
    )
    header = ("network", "precision", "s/window min", "median", "s/scan", "peak GB", "parameters")
    rows = []
    times: dict[str, list[float]] = {}
    for pair in pairs.values():
        for name, seconds in pair["times"].items():
            times.setdefault(name, []).extend(seconds)
    for name in names:
        median = statistics.median(times[name])
        peak = alone[name]["peak"]
        rows.append((
            NETWORKS[name].title, alone[name]["precision"], f"{min(times[name]):.3f}", f"{median:.3f}",
            f"{median * windows:.0f}" if not args.quick else "-", "-" if peak is None else f"{peak:.2f}",
            f"{alone[name]['parameters'][name] / 1e6:.1f} M",
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    for row in (header, tuple("-" * w for w in widths), *rows):
        print("  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))))

    if busy:
        print(f"\nOther programs kept {busy:.1f} cores busy at the start: seconds are too high, and ratios are noisy.")
    print()
    for ratio in wanted:
        seconds = pairs[ratio.ours, ratio.other]["times"]
        value = statistics.median(seconds[ratio.ours]) / statistics.median(seconds[ratio.other])
        judged = "" if args.quick else f" ({verdict(value, ratio.target)})"
        print(f"{NETWORKS[ratio.ours].title} / {NETWORKS[ratio.other].title}: {value:.2f}{judged}")
    if args.quick:
        return
    for name, target in MEMORY_TARGETS.items():
        if name in alone and alone[name]["peak"] is not None:
            peak = alone[name]["peak"]
            print(f"{NETWORKS[name].title}: peak memory {peak:.2f} GB ({verdict(peak, target)})")
    for name, target in TIME_TARGETS.items():
        if name in alone and alone[name]["precision"] == "bfloat16":
            median = statistics.median(times[name])
            print(
                f"{NETWORKS[name].title}: {median:.2f} s per {PATCH}^3 voxels ({verdict(median, target)} on two free cores)"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"windows of {QUICK_PATCH}^3: it runs, but judges nothing")
    parser.add_argument("--repeats", type=int, default=5, help="timed windows of each network in each ratio (5)")
    parser.add_argument("--precision", default="auto", choices=("auto", "bf16", "fp32"), help="of all networks (auto)")
    parser.add_argument("--threads", type=int, default=0, help="threads of PyTorch (all cores)")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, help="only the ratios between these networks")
    parser.add_argument("--measure", nargs="+", choices=NETWORKS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.repeats < 1:
        parser.error("--repeats must be at least 1")
    if args.measure:
        patch = QUICK_PATCH if args.quick else PATCH
        print(json.dumps(measure(args.measure, patch, args.precision, args.repeats)))
        return
    sys.path.insert(0, str(REPOSITORY))
    report(args)


if __name__ == "__main__":
    main()
