"""Slice and 3D views by Slicer's own displayable managers, rendered off screen through EGL (Mesa does without a GPU).

How the views are put together (renderer, displayable manager group, slice image as a 2D actor) follows trame-slicer
(Kitware, Apache-2.0), which does the same for a browser. Slicer's Qt widgets around the views are not here.
"""

from __future__ import annotations

import ctypes.util
import os

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

SLICE_MANAGERS = (
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager2D",
)
THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager3D",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager3D",
)


def why_not() -> str:
    """Why views cannot be rendered on this machine; "" where they can."""
    if ctypes.util.find_library("EGL") is None:
        return "views are rendered through EGL: install libegl1, libegl-mesa0 and libgl1-mesa-dri"
    return ""


class _View:
    """An off-screen window with one renderer and the displayable managers that fill it."""

    def __init__(self, size: tuple[int, int], factory_class, managers: tuple[str, ...], application_logic) -> None:
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")  # read when a window is made
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.ShowWindowOff()
        self.window.SetOffScreenRendering(1)
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.Initialize()
        factory = factory_class.GetInstance()
        factory.SetMRMLApplicationLogic(application_logic)
        for name in managers:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.SetRenderer(self.renderer)
        self.group.Initialize(factory, self.renderer)

    def image(self) -> np.ndarray:
        """What the view shows: (height, width, 3) uint8, first row on top."""
        self.window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self.window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        picture = grabber.GetOutput()
        width, height, _ = picture.GetDimensions()
        return vtk_to_numpy(picture.GetPointData().GetScalars()).reshape(height, width, 3)[::-1].copy()

    def close(self) -> None:
        self.group.SetMRMLDisplayableNode(None)
        self.window.Finalize()


class SliceView(_View):
    """One slice view on a logic that is there already (``HeadlessSlicer.slice_logics``)."""

    def __init__(self, logic, application_logic, size: tuple[int, int]) -> None:
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory
        super().__init__(size, factory, SLICE_MANAGERS, application_logic)
        self.logic = logic
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(self._actor)
        logic.ResizeSliceNode(*size)
        self.group.SetMRMLDisplayableNode(logic.GetSliceNode())
        self._tag = logic.AddObserver("ModifiedEvent", lambda *_: self._connect())
        self._connect()

    def _connect(self) -> None:
        connection = self.logic.GetImageDataConnection()
        self._actor.SetVisibility(connection is not None)
        if connection is not None:
            self._mapper.SetInputConnection(connection)

    def fit(self) -> None:
        self.logic.ResizeSliceNode(*self.window.GetSize())
        self.logic.FitSliceToBackground()
        self.logic.SnapSliceOffsetToIJK()

    def close(self) -> None:
        self.logic.RemoveObserver(self._tag)
        super().close()


class ThreeDView(_View):
    """The 3D view named 1."""

    def __init__(self, application_logic, size: tuple[int, int]) -> None:
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory
        super().__init__(size, factory, THREE_D_MANAGERS, application_logic)
        self.renderer.SetUseDepthPeeling(True)
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(application_logic)
        application_logic.GetViewLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(slicer.mrmlScene)
        node = self.logic.AddViewNode("1")
        node.SetBoxVisible(False)
        node.SetAxisLabelsVisible(False)
        self.group.SetMRMLDisplayableNode(node)

    def fit(self) -> None:
        """The camera looks from the front at all that is visible."""
        manager = self.group.GetDisplayableManagerByClassName("vtkMRMLCameraDisplayableManager")
        self.window.Render()
        self.renderer.ResetCamera()
        manager.GetCameraNode().RotateTo(slicer.vtkMRMLCameraNode.Anterior)
        self.renderer.ResetCamera()
        self.renderer.GetActiveCamera().Zoom(1.4)
        self.renderer.ResetCameraClippingRange()

    def close(self) -> None:
        super().close()
        self.logic.SetMRMLScene(None)
