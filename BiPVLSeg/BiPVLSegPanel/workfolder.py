"""Temporary folders that disappear in every outcome: with the run, with Slicer, or at the next start after a crash."""

import os
import shutil
import tempfile
import time
from pathlib import Path

PREFIX = "BiPVLSeg-"
LOCK = "lock"
YOUNG_SECONDS = 3600  # a folder without a lock may be about to get it
ATTEMPTS = 5


class WorkFolder:
    """A folder in ``root`` for the files of this application's runs.

    While the object lives the operating system holds a lock in it, which it gives up when the process ends, however it
    ends. So a folder whose lock can be taken belongs to nobody; see removeStale.

    Raises OutputError where ``root`` cannot be written to.
    """

    def __init__(self, root):
        self._lock = None
        for _attempt in range(ATTEMPTS):
            try:
                self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
                self._lock = _takeLock(self.path)
            except OSError as error:
                raise _notWritable(root, error) from error
            if self._lock is not None:
                return
        raise _notWritable(root, OSError(f"no lock in {self.path}"))

    def jobFolder(self):
        """A new, empty subfolder. Raises OutputError where it cannot be made."""
        try:
            return Path(tempfile.mkdtemp(prefix="job-", dir=self.path))
        except OSError as error:
            raise _notWritable(self.path, error) from error

    def remove(self, folder):
        """Removes a folder from jobFolder. What the system keeps open (on Windows) goes with close() or the next start."""
        folder = Path(folder)
        if folder.parent == self.path:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self):
        """Removes everything. May be called again."""
        if self._lock is not None:
            _removeLocked(self.path, self._lock)
            self._lock = None

    @staticmethod
    def removeStale(root):
        """Removes the folders of owners that are gone; returns how many. Those of other running Slicers stay."""
        removed = 0
        for folder in Path(root).glob(f"{PREFIX}*"):
            if folder.is_symlink() or not folder.is_dir() or not _mayBeStale(folder):
                continue
            try:
                lock = _takeLock(folder)
            except OSError:
                continue  # another user's
            if lock is not None:
                removed += _removeLocked(folder, lock)
        return removed


def _mayBeStale(folder):
    """False for a folder that has no lock yet and is young."""
    try:
        return (folder / LOCK).exists() or time.time() - folder.stat().st_mtime > YOUNG_SECONDS
    except OSError:
        return False


def _takeLock(folder):
    """The open and locked lock file of a folder, or None where another has it or is removing the folder."""
    path = folder / LOCK
    file = path.open("a+b")
    try:
        _lockFile(file)
        if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return file
        file.close()
    except OSError:  # held by its owner, or gone
        file.close()
    return None


def _lockFile(file):
    """Locks an open file against other processes, and other openings in this one. Raises OSError where it is locked."""
    if os.name == "nt":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _removeLocked(folder, lock):
    """Removes a folder whose lock we hold: the lock last, so that what cannot be removed now is found again."""
    for job in folder.glob("job-*"):
        shutil.rmtree(job, ignore_errors=True)
    lock.close()
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _notWritable(folder, error):
    from slicer.i18n import tr as _

    from BiPVLSegLib.errors import OutputError

    text = _(
        "The temporary folder {folder} cannot be used ({reason}); choose another one in the application settings, "
        "section Modules."
    )
    return OutputError(text.format(folder=folder, reason=error.strerror or error))
