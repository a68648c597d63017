"""Between the grid of the input volume and the grid that the model works on."""

from __future__ import annotations

from .grid import WorkingGrid, plan_working_grid

__all__ = ["WorkingGrid", "plan_working_grid"]
