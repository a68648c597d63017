"""Runs the module's self test inside a real 3D Slicer, which needs the PyTorch extension and what the panel installs:

    Slicer --no-splash --no-main-window --python-script Testing/slicer_self_test.py

The extension that is installed in this Slicer is tested, and where there is none, the checkout that this file belongs to.
Slicer then quits: exit code 0 if the sample heart was segmented, 1 if not.
"""

import traceback
from pathlib import Path

import qt
import slicer
import slicer.util

NAME = "BiPVLSeg"


def load_from_checkout():
    path = Path(__file__).resolve().parents[1] / NAME / f"{NAME}.py"
    factoryManager = slicer.app.moduleManager().factoryManager()
    factoryManager.registerModule(qt.QFileInfo(str(path)))
    factoryManager.loadModules([NAME])


def main():
    if NAME not in slicer.app.moduleManager().modulesNames():
        load_from_checkout()
    print(f"Testing {slicer.util.modulePath(NAME)}")
    slicer.selfTests[NAME]()


try:
    main()
except Exception:
    traceback.print_exc()
    slicer.util.exit(slicer.util.EXIT_FAILURE)
else:
    print("The self test has passed.")
    slicer.util.exit(slicer.util.EXIT_SUCCESS)
