"""Pictures of the panel in its main states, and of Slicer's views with a real result: ``python screenshots.py FOLDER``.

Written are, each in the light and the dark style: ``panel-<state>-<style>.png`` for the states below, and
``slicer-<style>.png``, the panel beside three slice views and a 3D view with what the bundled model found in the generated
heart. The model runs in the worker process as for a user. It takes a minute or two and needs the Slicer rig.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import conftest  # noqa: F401  (puts the folders of rig and panel on the path and the stand-ins in place)
import pytest
import slicer.util
from driver import Driver
from panel_host import PanelHost
from processes import MARK, kill_marked, new_mark
from PySide6 import QtGui
from python_slicer import write_launcher
from sample_volumes import add_phantom
from standins import layout_manager, views
from standins.session import SlicerSession

WIDTH = 480
VIEW_SIZE = (600, 481)
BAR, GAP = 16, 3  # above a view, between views
WINDOW_HEIGHT = 2 * (VIEW_SIZE[1] + BAR) + GAP
FONT = ("DejaVu Sans", 9)
NOT_YET_INSTALLED = ("torch", "torchvision", "monai", "einops", "transformers", "safetensors", "nibabel", "slicerio")
VIEW_COLORS = {"Red": "#f34a33", "3D": "#7483d2", "Green": "#6eb04b", "Yellow": "#edd54c"}  # in Slicer's four-up order
EDITED_TEXT = "Thick muscular ring around the left ventricle, thinner towards the apex"


class Studio:
    """Opens panels, and keeps their pictures in the folder."""

    def __init__(self, folder: Path, dark: bool) -> None:
        self.folder, self.dark = folder, dark
        self.style = "dark" if dark else "light"

    @contextlib.contextmanager
    def panel(self, **options) -> Iterator[Driver]:
        with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
            patch.setenv(MARK, new_mark())
            launcher = write_launcher(Path(temporary))
            patch.setenv("PATH", f"{launcher}{os.pathsep}{os.environ['PATH']}")
            patch.setenv("BIPVLSEG_MODELS", str(Path(temporary) / "UserModels"))
            session = SlicerSession(Path(temporary) / "Slicer")
            session.use_palette(self.dark)
            session.app.setFont(QtGui.QFont(*FONT))
            host = PanelHost(session, patch)
            try:
                yield host.open(**options)
            finally:
                host.close()
                session.close()
                kill_marked(os.environ[MARK])

    def save(self, panel: Driver, state: str) -> None:
        self._save(panel.grab(WIDTH), f"panel-{state}-{self.style}.png")

    def save_with_views(self, panel: Driver) -> None:
        """As in Slicer's window: what does not fit is scrolled away, here the upper part."""
        pictures = layout_manager.images(slicer.app.layoutManager())
        panel.window.resize(WIDTH + panel.window.verticalScrollBar().sizeHint.width(), WINDOW_HEIGHT)
        panel.process_events(0.1)
        panel.window.verticalScrollBar().setValue(panel.window.verticalScrollBar().maximum)
        panel.process_events(0.1)
        self._save(_compose(panel.window.grab(), pictures), f"slicer-{self.style}.png")

    def _save(self, picture: QtGui.QPixmap, name: str) -> None:
        if not picture.save(str(self.folder / name)):
            raise OSError(f"{self.folder / name} could not be written")
        print(self.folder / name)


def take_all(folder: Path, dark: bool) -> None:
    studio = Studio(folder, dark)
    with studio.panel(missing=NOT_YET_INSTALLED) as panel:
        studio.save(panel, "first-run")
    with studio.panel(settings={"device": "cpu"}) as panel:
        _run_and_edit(studio, panel)
    with studio.panel(settings={"device": "cpu"}) as panel:
        _fail(studio, panel)


def _run_and_edit(studio: Studio, panel: Driver) -> None:
    with_views = not views.why_not()
    if with_views:
        panel.session.add_views(VIEW_SIZE)
    else:
        print(f"no pictures of views: {views.why_not()}", file=sys.stderr)
    _show_heart(panel)
    studio.save(panel, "ready")
    panel.check("show3DCheckBox")
    _start(panel)
    studio.save(panel, "running")
    panel.wait_for_run(300)
    if panel.logic.run.error:
        raise panel.logic.run.error
    studio.save(panel, "result")
    if with_views:
        _look_at_the_heart()
        studio.save_with_views(panel)
    table = panel.find("conceptTableWidget")
    panel.select_row("conceptTableWidget", min(1, table.rowCount - 1))
    panel.type_text("shapeTextEdit", EDITED_TEXT)
    studio.save(panel, "concepts")


def _fail(studio: Studio, panel: Driver) -> None:
    """The worker dies in the middle of a run, as when the system kills it for memory."""
    _show_heart(panel)
    _start(panel)
    kill_marked(os.environ[MARK])
    panel.wait_for_run(30)
    panel.answers.take_errors()
    studio.save(panel, "failed")


def _show_heart(panel: Driver) -> None:
    heart = add_phantom(shape=(192, 192, 10), spacing=(1.5, 1.5, 8.0))
    panel.process_events()
    panel.choose_node("inputVolumeSelector", heart)
    if slicer.app.layoutManager() is not None:
        slicer.app.layoutManager().resetSliceViews()
    panel.wait_until(lambda: panel.find("segmentButton").enabled, 10, "the button is enabled")


def _start(panel: Driver) -> None:
    panel.click("segmentButton")
    state = panel.logic.runState
    panel.wait_until(lambda: state.done >= 1 or not state.busy, 120, "the first window is done")


def _look_at_the_heart() -> None:
    """Puts the slices through the middle of the segments, and the camera in front of them."""
    node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    bounds = [0.0] * 6
    node.GetRASBounds(bounds)
    centre = [(bounds[2 * axis] + bounds[2 * axis + 1]) / 2 for axis in range(3)]
    for name in slicer.app.layoutManager().sliceViewNames():
        slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode().JumpSliceByCentering(*centre)
    slicer.app.layoutManager().resetThreeDViews()


def _compose(panel: QtGui.QPixmap, pictures: dict) -> QtGui.QPixmap:
    """The panel on the left, the views in two rows beside it, each under a bar of its colour as in Slicer."""
    width, height = VIEW_SIZE
    canvas = QtGui.QPixmap(panel.width() + 2 * (GAP + width), WINDOW_HEIGHT)
    canvas.fill(QtGui.QColor("#303030"))
    painter = QtGui.QPainter(canvas)
    painter.setPen(QtGui.QColor("#000000"))
    painter.drawPixmap(0, 0, panel)
    for index, (name, color) in enumerate(VIEW_COLORS.items()):
        x = panel.width() + GAP + (index % 2) * (width + GAP)
        y = (index // 2) * (height + BAR + GAP)
        painter.fillRect(x, y, width, BAR, QtGui.QColor(color))
        painter.drawText(x + 6, y + BAR - 4, "1" if name == "3D" else name[0])
        painter.drawPixmap(x, y + BAR, layout_manager.to_pixmap(pictures[name]))
    painter.end()
    return canvas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the pictures go; it is made if it is not there")
    parser.add_argument("--style", choices=("light", "dark"), action="append", help="only this style")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for style in arguments.style or ("light", "dark"):
        take_all(arguments.folder, dark=style == "dark")


if __name__ == "__main__":
    main()
