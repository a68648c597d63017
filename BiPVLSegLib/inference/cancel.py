"""Stopping a run."""

from __future__ import annotations

from ..errors import Cancelled


class CancelToken:
    """Call :meth:`cancel` from anywhere; the run stops within one batch of windows by raising Cancelled."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def check(self) -> None:
        """Raises Cancelled once :meth:`cancel` was called."""
        if self.cancelled:
            raise Cancelled("The run was cancelled; nothing was written.")
