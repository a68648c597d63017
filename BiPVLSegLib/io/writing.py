"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError


@contextmanager
def atomic_path(final_path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``final_path`` with the same suffixes; it takes the final name on success.

    On any exception, Ctrl-C included, the temporary file is removed and what was at ``final_path`` stays. An OSError
    (full disk, no permission, no such folder) becomes an OutputError. For files, not folders.

    Example::

        with atomic_path("out.nii.gz") as path:
            nibabel.save(image, path)
    """
    final = Path(final_path)
    suffixes = "".join(final.suffixes[-2:])
    stem = final.name[: len(final.name) - len(suffixes)]
    # Short, because the name must stay within the file system's limit of 255 bytes.
    temporary = final.with_name(f".{stem[:40]}.{secrets.token_hex(4)}{suffixes}")
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, final)
    except OSError as error:
        raise _output_error(final, error) from error
    finally:
        _remove(temporary)


def flush(path: Path) -> None:
    """Brings a file to the disk. A full one may show only then, so before the old file is given up."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())


def ensure_writable(path: str | os.PathLike, overwrite: bool = False) -> None:
    """Raise OutputError now if ``path`` could not be written later. To be called before a long run; creates nothing."""
    path = Path(path)
    if path.is_dir():
        raise OutputError(f"'{path}' is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise OutputError(f"The folder '{path.parent}' does not exist; create it or choose another one.")
    if path.exists() and not overwrite:
        raise OutputError(
            f"'{path}' exists already; choose another name, or allow replacing it (--overwrite, in Python overwrite=True)."
        )
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=f".{path.name[-40:]}"):
            pass
    except OSError as error:
        raise _output_error(path, error) from error


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # Unreachable folder or a read-only disk: there is nothing of ours to remove, and the first error matters more.
        return


def _output_error(path: Path, error: OSError) -> OutputError:
    short = error.errno is None and "written" in str(error)  # what NumPy says of a file that was cut off
    if short or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        reason = "the disk is full; free some space or choose another folder"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        reason = "writing there is not allowed; choose another folder"
    elif error.errno in (errno.ENOENT, errno.ENOTDIR):
        reason = f"the folder '{path.parent}' does not exist or nothing was written; choose another folder"
    else:
        reason = error.strerror or str(error)
    return OutputError(f"'{path}' cannot be written: {reason}.")
