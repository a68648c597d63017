"""The C++ objects around a scripted module: qSlicerScriptedLoadableModule, its widget, and the module manager.

A module is loaded as Slicer does it: its own folder (and nothing else) goes on ``sys.path``, the file runs as the Python
module of its name, and the object becomes ``slicer.modules.<lowercase name>``. Its panel is made when first asked for.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets

from .mrml_widgets import SCENE_SIGNAL
from .stand_in import stand_in, stored_property


@stand_in
class qSlicerScriptedLoadableModule(QtCore.QObject):
    """Metadata of a scripted module, and the maker of its panel."""

    title = stored_property(str, "title", "")
    categories = stored_property("QStringList", "categories", [])
    contributors = stored_property("QStringList", "contributors", [])
    dependencies = stored_property("QStringList", "dependencies", [])
    associatedNodeTypes = stored_property("QStringList", "associatedNodeTypes", [])
    helpText = stored_property(str, "helpText", "")
    acknowledgementText = stored_property(str, "acknowledgementText", "")
    icon = stored_property(QtGui.QIcon, "icon", None)
    hidden = stored_property(bool, "hidden", False)
    index = stored_property(int, "index", -1)
    widgetRepresentationCreationEnabled = stored_property(bool, "widgetRepresentationCreationEnabled", True)
    name = QtCore.Property(str, lambda self: self._path.stem)
    path = QtCore.Property(str, lambda self: str(self._path))
    _path: Path
    _widget: Any
    _logic: Any

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._widget = None
        self._logic = slicer.vtkSlicerScriptedLoadableModuleLogic()

    def logic(self):
        """Slicer's empty C++ logic; the module's own is ``slicer.util.getModuleLogic``."""
        return self._logic

    def widgetRepresentation(self):
        if self._widget is None and self.widgetRepresentationCreationEnabled:
            self._widget = qSlicerScriptedLoadableModuleWidget(self)
            _fill(self._widget)
        return self._widget

    def createNewWidgetRepresentation(self):
        widget = qSlicerScriptedLoadableModuleWidget(self)
        _fill(widget)
        return widget


@stand_in
class qSlicerScriptedLoadableModuleWidget(QtWidgets.QWidget):
    """The parent widget of a panel; it calls setup, enter and exit of the Python class."""

    mrmlSceneChanged = QtCore.Signal(object)
    _signatures = (SCENE_SIGNAL,)
    moduleName = QtCore.Property(str, lambda self: self._module.name)
    isEntered = QtCore.Property(bool, lambda self: self._entered)
    _module: Any
    _python: Any
    _scene: Any
    _entered: bool

    def __init__(self, module: qSlicerScriptedLoadableModule) -> None:
        super().__init__()
        self._module, self._python, self._scene, self._entered = module, None, None, False
        self.setLayout(QtWidgets.QVBoxLayout())
        self.objectName = f"{module.name}ModuleWidget"

    def _construct(self) -> None:
        python_module = sys.modules[self._module.name]
        self._python = getattr(python_module, f"{self._module.name}Widget")(self)
        setattr(slicer.modules, f"{self._module.name}Widget", self._python)
        self._python.setup()

    def self(self):
        return self._python

    def setMRMLScene(self, scene) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)

    def enter(self) -> None:
        self._entered = True
        self._call("enter")

    def exit(self) -> None:
        self._entered = False
        self._call("exit")

    def reload(self) -> None:
        """A new Python object in the same parent. As in Slicer, a panel that is shown stays entered and is not told so."""
        self._construct()

    def _call(self, name: str) -> None:
        method = getattr(self._python, name, None)
        if method is not None:
            method()


def _fill(widget: qSlicerScriptedLoadableModuleWidget) -> None:
    """What Slicer does when a panel is made: construct, set up, hand over the scene."""
    widget._construct()
    widget.setMRMLScene(slicer.mrmlScene)


@stand_in
class qSlicerModuleFactoryManager(QtCore.QObject):
    _manager: Any

    def __init__(self, manager) -> None:
        super().__init__()
        self._manager = manager

    def loadedModuleNames(self) -> list[str]:
        return self._manager.modulesNames()

    def isLoaded(self, name: str) -> bool:
        return name in self._manager.modulesNames()


@stand_in
class qSlicerModuleManager(QtCore.QObject):
    moduleLoaded = QtCore.Signal(str)
    moduleAboutToBeUnloaded = QtCore.Signal(str)
    _factory: Any
    _modules: dict

    def __init__(self) -> None:
        super().__init__()
        self._factory = qSlicerModuleFactoryManager(self)
        self._modules = {}

    def module(self, name: str):
        """The module object, or None."""
        return self._modules.get(name)

    def modulesNames(self) -> list[str]:
        return list(self._modules)

    def factoryManager(self) -> qSlicerModuleFactoryManager:
        return self._factory


class CoreModule:
    """A module written in C++: a name and a real logic, without a panel."""

    def __init__(self, name: str, logic) -> None:
        self.name, self._logic = name, logic

    def logic(self):
        return self._logic

    def widgetRepresentation(self):
        return None


def load_module(manager: qSlicerModuleManager, path: Path) -> qSlicerScriptedLoadableModule:
    """Loads a scripted module; raises what its file or its constructor raises."""
    name, folder = path.stem, str(path.parent)
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(name, path)
    python_module = importlib.util.module_from_spec(spec)
    sys.modules[name] = python_module
    spec.loader.exec_module(python_module)
    module = qSlicerScriptedLoadableModule(path)
    setattr(slicer.modules, name.lower(), module)
    setattr(slicer.modules, f"{name}Instance", getattr(python_module, name)(module))
    manager._modules[name] = module
    manager.moduleLoaded.emit(name)
    return module


def unload_modules(manager: qSlicerModuleManager) -> None:
    """What happens to the modules when Slicer quits. Python forgets the module files, not what they imported."""
    for name, module in list(manager._modules.items()):
        widget = module._widget
        if widget is not None and widget._entered:
            widget.exit()
        manager.moduleAboutToBeUnloaded.emit(name)
        if widget is not None:
            widget.delete()
        sys.modules.pop(name, None)
        del manager._modules[name]


def install() -> None:
    for cls in (qSlicerScriptedLoadableModule, qSlicerScriptedLoadableModuleWidget):
        setattr(slicer, cls.__name__, cls)
