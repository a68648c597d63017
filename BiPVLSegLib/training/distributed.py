"""Several processes that train one model, as ``torchrun`` starts them; a single process needs none of this.

Every process holds the whole model and computes its part of each batch, so that the result is that of one process with the
same batch. The first one alone writes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed

from ..errors import TrainingError

PATIENCE = timedelta(hours=2)  # others wait this long while one process prepares volumes or writes


def started() -> bool:
    """Whether there are several processes (PyTorch builds without them know no ``is_initialized``)."""
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    """Number of this process, 0 for the one that writes."""
    return distributed.get_rank() if started() else 0


def count() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if started() else 1


@contextmanager
def process_group(device: str) -> Iterator[str]:
    """Joins the other processes if ``torchrun`` started this one; yields the device to use (``cuda:LOCAL_RANK``).

    Raises:
        TrainingError: the processes cannot find each other, or there are more of them than GPUs.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ or started():
        yield device
        return
    if not distributed.is_available():
        raise TrainingError("This PyTorch was built without distributed training; start one process without torchrun.")
    kind = device if device != "auto" else ("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda":
        local = int(os.environ.get("LOCAL_RANK", 0))
        if local >= torch.cuda.device_count():
            raise TrainingError(
                f"torchrun was asked for more processes than there are GPUs ({torch.cuda.device_count()}) on this computer; "
                "lower --nproc_per_node."
            )
        device = f"cuda:{local}"
        torch.cuda.set_device(local)
    elif kind == "cpu":
        device = "cpu"
    else:
        raise TrainingError(f"Several processes train on cuda or cpu, each on a device of its own, not on '{device}'.")
    try:
        distributed.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"The training processes cannot find each other: {error}.") from error
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def wait_for_all() -> None:
    """Returns when every process has come here."""
    if started():
        distributed.barrier()


def gathered(rows: Tensor) -> Tensor:
    """(B, ...) of every process -> (processes * B, ...) in their order. Gradients find their way back."""
    if count() == 1:
        return rows
    if rows.requires_grad:
        from torch.distributed.nn.functional import all_gather as gather_with_gradient

        return torch.cat(gather_with_gradient(rows.contiguous()))
    parts = [torch.empty_like(rows) for _ in range(count())]
    distributed.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def gathered_objects(value) -> list:
    """What each process gives, in their order."""
    if count() == 1:
        return [value]
    values = [None] * count()
    distributed.all_gather_object(values, value)
    return values


def averaged(values: dict[str, Tensor]) -> dict[str, float]:
    """Mean of scalars over the processes, as numbers for the log."""
    if not values:
        return {}
    stacked = torch.stack([value.detach().float() for value in values.values()])
    if count() > 1:
        distributed.all_reduce(stacked)
    return dict(zip(values, (stacked / count()).tolist(), strict=True))
