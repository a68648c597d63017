"""Time of the training steps and memory of a process."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

UNUSUAL = 3.0  # steps that take longer than so many medians had a validation or the writing of a checkpoint in them


class StepClock:
    """Writes the seconds from each optimiser step to the next into a text file, as a context.

    It counts loading, forward and backward pass and update, whatever the training loop looks like, and goes on in the same
    file when a run is resumed. The first step of a process, which fills caches, is left out.
    """

    def __init__(self, path: Path):
        self.path, self.last = path, None

    def __enter__(self) -> StepClock:
        from torch.optim.optimizer import register_optimizer_step_post_hook

        self.file = open(self.path, "a", encoding="utf-8", buffering=1)
        self.hook = register_optimizer_step_post_hook(self._tick)
        return self

    def __exit__(self, *_error) -> None:
        self.hook.remove()
        self.file.close()

    def _tick(self, *_arguments) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self.last is not None:
            self.file.write(f"{now - self.last:.6f}\n")
        self.last = now


def seconds_per_step(path: Path) -> float | None:
    """Mean of the steps that a ``StepClock`` timed, without unusually long ones; None without any."""
    lines = path.read_text(encoding="utf-8").split() if path.is_file() else []
    if not lines:
        return None
    seconds = np.array([float(line) for line in lines])
    return float(seconds[seconds <= UNUSUAL * np.median(seconds)].mean())


def peak_memory_gb() -> float | None:
    """Largest resident size of this process so far in GB (10^9 bytes); None where the system does not tell.

    Linux' ``getrusage`` starts a process with the size of its parent, so its own record is read first.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e9
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def peak_gpu_memory_gb() -> float | None:
    """Most GPU memory that tensors took so far in GB; None without a GPU."""
    import torch

    if not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return torch.cuda.max_memory_allocated() / 1e9
