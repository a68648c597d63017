"""Volumes from files and arrays; safe writing of results."""

from __future__ import annotations

from .volume import Volume, check_volume, read_volume, volume_from_array
from .writing import atomic_path, ensure_writable

__all__ = ["Volume", "atomic_path", "check_volume", "ensure_writable", "read_volume", "volume_from_array"]
