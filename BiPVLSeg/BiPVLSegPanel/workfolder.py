"""Temporary folders that disappear in every outcome: with the run, with Slicer, or at the next start after a crash."""

import shutil
import tempfile
from pathlib import Path

from BiPVLSegLib.leftovers import JOB_PREFIX, PREFIX, remove_locked, remove_stale_folders, take_lock

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
                self._lock = take_lock(self.path)
            except OSError as error:
                raise _notWritable(root, error) from error
            if self._lock is not None:
                return
            shutil.rmtree(self.path, ignore_errors=True)
        raise _notWritable(root, OSError(f"no lock in {self.path}"))

    def jobFolder(self):
        """A new, empty subfolder. Raises OutputError where it cannot be made."""
        try:
            return Path(tempfile.mkdtemp(prefix=JOB_PREFIX, dir=self.path))
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
            remove_locked(self.path, self._lock)
            self._lock = None

    @staticmethod
    def removeStale(root):
        """Removes the folders of owners that are gone; returns how many. Those of other running Slicers stay."""
        return remove_stale_folders(root)


def _notWritable(folder, error):
    from slicer.i18n import tr as _

    from BiPVLSegLib.errors import OutputError

    text = _(
        "The temporary folder {folder} cannot be used ({reason}); choose another one in the application settings, "
        "section Modules."
    )
    return OutputError(text.format(folder=folder, reason=error.strerror or error))
