"""Numbers of options."""

from __future__ import annotations

import argparse


def whole_number(text: str) -> int:
    """For ``type=`` of an option that takes 0, 1, 2, ..."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"give a whole number from 0, not {text}")
    return number
