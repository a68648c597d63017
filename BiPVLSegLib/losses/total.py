"""The total training loss: each part weighted by a learned uncertainty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn


class UncertaintyWeightedSum(nn.Module):
    """sum_i L_i / (2 exp(s_i)) + s_i with learned s_i, 0 at the start (BiPVL-Seg, total objective).

    Each s_i is its own parameter: the s_i of a loss that is missing in a step gets no gradient at all (``None``), so
    the optimiser leaves it alone. Put these parameters into a group without weight decay.

    Args:
        names: the losses that may occur.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__()
        self.log_variances = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in names})
        if len(self.log_variances) == 0:
            raise ValueError("a weighted sum needs the name of at least one loss")

    def forward(self, losses: Mapping[str, torch.Tensor | None]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Combine the losses of one step.

        Args:
            losses: scalars by name. A name that is missing, or None, contributes neither of its two terms. Leave the
                alignment out in a step with fewer than two classes present: its constant 0 would only push its s_i
                down.

        Returns:
            The total (float32 scalar), and for the log, detached and still on the device: every loss under its name,
            its s_i as ``s_<name>`` and ``total``.

        Raises:
            ValueError: an unknown name, or no loss at all.
        """
        unknown = sorted(set(losses) - set(self.log_variances.keys()))
        if unknown:
            raise ValueError(f"unknown losses {unknown}; this sum was built for {sorted(self.log_variances.keys())}")
        present = {name: loss.float() for name, loss in losses.items() if loss is not None}
        if not present:
            raise ValueError("no loss was given in this step")
        terms = []
        log = {}
        for name, loss in present.items():
            log_variance = self.log_variances[name].float()
            terms.append(0.5 * torch.exp(-log_variance) * loss + log_variance)
            log[name] = loss.detach()
            log[f"s_{name}"] = log_variance.detach().clone()
        total = torch.stack(terms).sum()
        log["total"] = total.detach()
        return total, log
