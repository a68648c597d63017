"""Stand-in of ``slicer.app.layoutManager()``: three slice views and a 3D view, shown as pictures in Qt labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6 import QtCore, QtGui, QtWidgets

from .stand_in import stand_in, stored_property
from .views import SliceView, ThreeDView, why_not

FOUR_UP = 3


def to_pixmap(image: np.ndarray) -> QtGui.QPixmap:
    """(height, width, 3) uint8 as a picture of Qt."""
    height, width, _ = image.shape
    return QtGui.QPixmap.fromImage(
        QtGui.QImage(image.tobytes(), width, height, 3 * width, QtGui.QImage.Format_RGB888).copy()
    )


@stand_in
class qMRMLSliceWidget(QtWidgets.QLabel):
    _view: Any

    def __init__(self, view: SliceView) -> None:
        super().__init__()
        self._view = view

    def sliceLogic(self):
        return self._view.logic

    def mrmlSliceNode(self):
        return self._view.logic.GetSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._view.logic.GetSliceCompositeNode()

    def fitSliceToBackground(self) -> None:
        self._view.fit()


@stand_in
class qMRMLThreeDWidget(QtWidgets.QLabel):
    _view: Any

    def __init__(self, view: ThreeDView) -> None:
        super().__init__()
        self._view = view

    def mrmlViewNode(self):
        return self._view.logic.GetViewNode()


@stand_in
class qSlicerLayoutManager(QtCore.QObject):
    """Raises RuntimeError with the reason where views cannot be rendered."""

    layoutChanged = QtCore.Signal(int)
    layout = stored_property(int, "layout", FOUR_UP)
    threeDViewCount = QtCore.Property(int, lambda self: len(self._three_d))
    _slices: dict
    _three_d: list
    _slicer: Any

    def __init__(self, headless, size: tuple[int, int]) -> None:
        super().__init__()
        if why_not():
            raise RuntimeError(why_not())
        logic = headless.application_logic
        views = {name: SliceView(slice_logic, logic, size) for name, slice_logic in headless.slice_logics.items()}
        self._slicer = headless
        self._slices = {name: qMRMLSliceWidget(view) for name, view in views.items()}
        self._three_d = [qMRMLThreeDWidget(ThreeDView(logic, size))]

    def sliceViewNames(self) -> list[str]:
        return list(self._slices)

    def sliceWidget(self, name: str):
        return self._slices.get(name)

    def mrmlSliceLogics(self):
        return self._slicer.application_logic.GetSliceLogics()

    def threeDWidget(self, index: int):
        return self._three_d[index]

    def setLayout(self, layout: int) -> None:
        self.layout = layout
        self.layoutChanged.emit(layout)

    def resetSliceViews(self) -> None:
        for widget in self._slices.values():
            widget._view.fit()

    def resetThreeDViews(self) -> None:
        for widget in self._three_d:
            widget._view.fit()


def images(manager: qSlicerLayoutManager) -> dict[str, np.ndarray]:
    """What every view shows now, by its name; the 3D view is "3D"."""
    shown = {name: widget._view.image() for name, widget in manager._slices.items()}
    return {**shown, "3D": manager._three_d[0]._view.image()}


def close(manager: qSlicerLayoutManager) -> None:
    for widget in (*manager._slices.values(), *manager._three_d):
        widget._view.close()
