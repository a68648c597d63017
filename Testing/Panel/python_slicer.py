"""A stand-in of the program ``PythonSlicer``: like Slicer's, a launcher that starts Python as a child and waits for it.

So a test notices when killing the process that was started leaves the Python behind it running.
"""

from __future__ import annotations

import stat
import sys
from pathlib import Path

_SCRIPT = """#!/bin/sh
exec 3<&0  # a shell gives what it starts in the background no input, and dash even then where "<&0" asks for it
"{python}" "$@" <&3 &
child=$!
wait $child
exit $?
"""


def write_launcher(folder: Path, python: str = sys.executable) -> Path:
    """Writes ``PythonSlicer`` into the folder, which a test puts in front of PATH. Returns the folder."""
    launcher = folder / "PythonSlicer"
    launcher.write_text(_SCRIPT.format(python=python), encoding="utf-8")
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR)
    return folder
