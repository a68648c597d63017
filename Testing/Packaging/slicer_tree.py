"""Builds the extension with a stand-in of Slicer's CMake macros and installs it into a folder that is laid out like Slicer."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
SOURCES = (REPOSITORY / "BiPVLSeg", REPOSITORY / "BiPVLSegLib", REPOSITORY / "Resources")
MODULES = Path("lib") / "Slicer-5.12" / "qt-scripted-modules"


@dataclass(frozen=True)
class SlicerTree:
    """modules: the installed qt-scripted-modules. description: the EXTENSION_* values as CMake sees them in the end, and NAME.
    tests: names of the tests registered for a real Slicer."""

    modules: Path
    description: dict[str, str]
    tests: list[str]

    def environment(self, **more: str) -> dict[str, str]:
        """For a Python that finds the installed tree, and for which the sources are out of reach (``Guard/sitecustomize.py``)."""
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE / "Guard"), str(self.modules)]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "BIPVLSEG_OUT_OF_REACH": os.pathsep.join(map(str, SOURCES)),
            "PYTHONUTF8": "1",
            **more,
        }


def cmake_program() -> str:
    """CMake of the wheel ``cmake``, which lies beside Python and need not be on the PATH, or the computer's own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which("cmake", path=path)
    assert program, "CMake is missing: pip install cmake (it is in the extra 'test')"
    return program


def install_extension(folder: Path, sources: Path = REPOSITORY) -> SlicerTree:
    """Configures, and installs into a folder with a space and a letter beyond ASCII, as in a user's home.

    Neither compilers nor a build tool are needed: nothing of the extension is compiled, and the stand-in copies files when
    CMake configures.
    """
    build, target = folder / "build", folder / "Jürgen 1" / "BiPVLSeg"
    configure = [
        *("-S", str(sources), "-B", str(build), "-G", "Unix Makefiles"),
        f"-DSlicer_DIR={HERE / 'SlicerStandIn'}",
        f"-DCMAKE_TOOLCHAIN_FILE={HERE / 'no_compiler.cmake'}",
        f"-DCMAKE_MAKE_PROGRAM={sys.executable}",  # must exist; it is never called
    ]
    for arguments in (configure, ["--install", str(build), "--prefix", str(target)]):
        done = subprocess.run([cmake_program(), *arguments], capture_output=True, text=True, encoding="utf-8")
        assert done.returncode == 0, done.stdout + done.stderr
    lines = (build / "description.txt").read_text(encoding="utf-8").splitlines()
    tests = (build / "BiPVLSeg" / "CTestTestfile.cmake").read_text(encoding="utf-8")
    return SlicerTree(
        modules=target / MODULES,
        description=dict(line.split("=", 1) for line in lines),
        tests=re.findall(r"add_test\(\W*(\w+)", tests),
    )
