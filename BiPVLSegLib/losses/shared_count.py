"""Means over a batch that lies on several processes."""

from __future__ import annotations

import torch
from torch import distributed


def shared_count(count: torch.Tensor) -> torch.Tensor:
    """What to divide a process's own sum by, so that the mean of that over the processes is the mean over the whole batch.

    Args:
        count: how many things (voxels, pairs) this process sums over, a scalar.

    Returns:
        The count over all processes, at least 1, divided by their number. With one process the count itself.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return count.clamp(min=1)
    total = count.detach().float()
    distributed.all_reduce(total)
    return total.clamp(min=1) / distributed.get_world_size()
