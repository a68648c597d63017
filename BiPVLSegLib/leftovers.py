"""Folders and files in Slicer's temporary folder that belong to nobody any more, because their Slicer was killed.

A running owner holds a lock in its folder, which the operating system gives up when the process ends, however it ends.
So a folder whose lock can be taken has no owner. Files have no lock; they count as left when they are old.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import BinaryIO

PREFIX = "BiPVLSeg-"
INSTALLATION_FILES = f"{PREFIX}constraints-*.txt"
JOB_PREFIX = "job-"
LOCK = "lock"
YOUNG_SECONDS = 3600  # a folder without a lock may be about to get it


def find_leftovers(root: str | os.PathLike) -> list[Path]:
    """What is left over in ``root``; empty where there is no such folder. What other running Slicers use is not listed."""
    found = []
    for path in sorted(Path(root).glob(f"{PREFIX}*")):
        if path.is_symlink():
            continue
        if path.is_file():
            if path.match(INSTALLATION_FILES) and _is_old(path):
                found.append(path)
        elif path.is_dir() and _is_stale(path):
            found.append(path)
    return found


def remove_leftover(path: Path) -> None:
    """Removes something from ``find_leftovers``.

    Raises
    ------
    OSError
        It is in use, or cannot be removed. What is still there is found again.
    """
    if path.is_file():
        path.unlink()
        return
    lock = _lock_of_stale_folder(path)
    if lock is None:
        raise OSError("it is in use")
    if not remove_locked(path, lock):
        raise OSError("some of its files cannot be deleted")


def remove_stale_folders(root: str | os.PathLike) -> int:
    """Removes the folders of owners that are gone; returns how many. Those of other running Slicers stay."""
    removed = 0
    for folder in Path(root).glob(f"{PREFIX}*"):
        if folder.is_dir() and not folder.is_symlink() and (lock := _lock_of_stale_folder(folder)) is not None:
            removed += remove_locked(folder, lock)
    return removed


def take_lock(folder: Path) -> BinaryIO | None:
    """The open and locked lock file of a folder, or None where another has it or is removing the folder.

    Raises
    ------
    OSError
        The file cannot be opened: the folder is another user's, or gone.
    """
    path = folder / LOCK
    file = path.open("a+b")
    try:
        lock_file(file)
        if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return file
        file.close()
    except OSError:  # held by its owner, or gone
        file.close()
    return None


def remove_locked(folder: Path, lock: BinaryIO) -> bool:
    """Removes a folder whose lock we hold: the lock last, so that what cannot be removed now is found again."""
    for job in folder.glob(f"{JOB_PREFIX}*"):
        shutil.rmtree(job, ignore_errors=True)
    lock.close()
    if any(folder.glob(f"{JOB_PREFIX}*")):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _is_stale(folder: Path) -> bool:
    """As ``_lock_of_stale_folder``, and leaves everything as it is: no lock is made where there is none."""
    try:
        if not (folder / LOCK).exists():
            return _is_old(folder) and _has_only_our_files(folder) and os.access(folder, os.W_OK)
    except OSError:
        return False
    lock = _lock_of_stale_folder(folder)
    if lock is not None:
        lock.close()
    return lock is not None


def _lock_of_stale_folder(folder: Path) -> BinaryIO | None:
    """None for a folder in use, for another user's, for one with other files, and for a young one without a lock."""
    try:
        if _has_only_our_files(folder) and ((folder / LOCK).exists() or _is_old(folder)):
            return take_lock(folder)
    except OSError:
        return None
    return None


def _has_only_our_files(folder: Path) -> bool:
    return all(path.name == LOCK or path.name.startswith(JOB_PREFIX) for path in folder.iterdir())


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > YOUNG_SECONDS
    except OSError:
        return False


def lock_file(file: BinaryIO) -> None:
    """Locks an open file against other processes, and other openings in this one, until it is closed.

    Raises
    ------
    BlockingIOError, PermissionError
        It is locked.
    OSError
        The file system knows no locks.
    """
    if os.name == "nt":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
