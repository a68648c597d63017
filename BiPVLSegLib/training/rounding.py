"""Training for few bits: the network computes with weights as they will be stored, the optimiser keeps the full ones.

Rounding a trained model to few bits costs accuracy, which training can win back if it meets the rounded weights: gradients are
those at the rounded weights and move the full ones (straight-through estimator; Courbariaux et al., BinaryConnect, 2015).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from ..model.compact import is_rounded, own_bits, rounded, row_steps

EVERY = 50  # training steps between two searches for the steps of all rows, which take a while


class Rounding:
    """Rounds named parameters to ``bits`` bits for a while, as ``model.compact`` stores them; 0 bits: not at all."""

    def __init__(self, parameters: Iterable[tuple[str, nn.Parameter]], bits: int):
        self.parameters = [(p, own_bits(name, p, bits)) for name, p in parameters if bits and is_rounded(p)]
        self.steps: list[Tensor] = []  # of the rows, one tensor per parameter; the first training step finds them

    @contextmanager
    def applied(self, step: int | None = None) -> Iterator[None]:
        """Inside, the parameters are rounded; with a training step that is due, by the steps that fit them best by now."""
        if step is not None and step % EVERY == 0:
            self.steps = [row_steps(p, bits) for p, bits in self.parameters]
        full = [p.data for p, _ in self.parameters]
        try:
            for (p, bits), steps in zip(self.parameters, self.steps, strict=True):
                p.data = rounded(p, steps, bits)
            yield
        finally:
            for (p, _), tensor in zip(self.parameters, full, strict=True):
                p.data = tensor
