"""What can be known before any voxel is read: does the file hold enough bytes, and does the memory?"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from ..errors import InputError

# Deflate cannot pack more than this many bytes into one.
DEFLATE_LIMIT = 1032


def require_enough_bytes(path: Path, needed: int, present: int, compressed: bool) -> None:
    """Raise InputError if ``present`` bytes on disk cannot hold the ``needed`` bytes of voxels."""
    if present * (DEFLATE_LIMIT if compressed else 1) < needed:
        raise InputError(
            f"'{path}' is cut off: its header announces {in_words(needed)} of voxels, but only {in_words(present)}"
            f"{' (compressed)' if compressed else ''} are there; copy or export the file again."
        )


def is_whole_zlib_stream(path: Path, offset: int) -> bool:
    """Whether the zlib or gzip stream at ``offset`` of ``path`` unpacks to its end with the right checksum."""
    unpacker = zlib.decompressobj(wbits=47)
    with path.open("rb") as stream:
        stream.seek(offset)
        try:
            while not unpacker.eof and (piece := stream.read(2**16)):
                unpacker.decompress(piece)
        except zlib.error:
            return False
    return unpacker.eof


def require_memory(source: Path | str, needed: int) -> None:
    """Raise InputError if ``needed`` bytes exceed the memory that is free now (where that can be told)."""
    available = available_memory()
    if available is not None and needed > available:
        raise InputError(
            f"'{source}' needs {in_words(needed)} of memory to read, but only {in_words(available)} are free; "
            "crop it, resample it to larger voxels, or use a computer with more memory."
        )


def available_memory() -> int | None:
    """Bytes of memory that a program can still get, or None where the system does not say."""
    try:
        import psutil

        return int(psutil.virtual_memory().available)
    except ImportError:
        pass
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def in_words(count: int) -> str:
    """1536 -> '1.5 KB'."""
    size = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"
