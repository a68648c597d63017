"""Python runs this at its start where this folder is on PYTHONPATH: the folders in $BIPVLSEG_OUT_OF_REACH cannot be read.

So a test knows that nothing comes from the sources, however the library may be installed in the Python that runs the tests.
Python processes that such a process starts are guarded, too.
"""

import os
import sys

_FOLDERS = tuple(
    os.path.join(os.path.realpath(folder), "") for folder in os.environ["BIPVLSEG_OUT_OF_REACH"].split(os.pathsep)
)


def _refuse(event: str, arguments: tuple) -> None:
    if event not in ("open", "os.listdir", "os.scandir") or not isinstance(arguments[0], (str, bytes, os.PathLike)):
        return
    path = os.path.join(os.path.realpath(os.fsdecode(arguments[0])), "")
    if path.startswith(_FOLDERS):
        raise PermissionError(f"out of reach: {path}")


sys.addaudithook(_refuse)
