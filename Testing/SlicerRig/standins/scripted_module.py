"""Stand-in of ``slicer.ScriptedLoadableModule``: the base classes of a scripted module, as Slicer's documentation has them."""

from __future__ import annotations

import importlib
import logging
import sys
import unittest
from pathlib import Path

import slicer
import slicer.util

from .strict import StrictModule


class ScriptedLoadableModule:
    """``parent`` is the qSlicerScriptedLoadableModule that holds the metadata."""

    def __init__(self, parent) -> None:
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title = ""
        parent.categories = []
        parent.dependencies = []
        parent.contributors = ["(not set)"]
        parent.helpText = "(not set)"
        parent.acknowledgementText = "(not set)"
        icons = [Path(self.resourcePath(f"Icons/{self.moduleName}{ending}")) for ending in (".svg", ".png")]
        icon = next((path for path in icons if path.is_file()), None)
        if icon:
            import qt

            parent.icon = qt.QIcon(str(icon))

    def resourcePath(self, filename: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        address = slicer.app.documentationBaseUrl + (docPage or "")
        return f'<p>For more information see the <a href="{address}">documentation</a>.</p>'

    def runTest(self, msec: int = 100, **keywords) -> None:
        module = importlib.import_module(type(self).__module__)
        test = getattr(module, f"{self.moduleName}Test")()
        test.messageDelay = msec
        test.runTest(**keywords)


class ScriptedLoadableModuleWidget:
    """Python side of a module's panel. ``parent`` is the qSlicerScriptedLoadableModuleWidget that it fills."""

    def __init__(self, parent=None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, slicer.util.toBool)
        alone = parent is None
        if alone:
            import qt

            parent = slicer.qMRMLWidget()
            parent.setLayout(qt.QVBoxLayout())
            parent.setMRMLScene(slicer.mrmlScene)
        self.parent = parent
        self.layout = parent.layout()
        if alone:
            self.setup()
            parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self) -> None:
        self.setupDeveloperSection()

    def setupDeveloperSection(self) -> None:
        if self.developerMode:
            raise NotImplementedError("no stand-in for the reload and test section of the developer mode")

    def cleanup(self) -> None:
        """For the module to override: called when the module is unloaded or reloaded."""

    def onReload(self) -> None:
        slicer.util.reloadScriptedModule(self.moduleName)

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:
        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)


class ScriptedLoadableModuleLogic:
    def __init__(self, parent=None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self):
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node and node.GetAttribute("ModuleName") != self.moduleName:
                node.SetAttribute("ModuleName", self.moduleName)  # closing a scene may have reset it
        else:
            node = next(iter(self.getAllParameterNodes()), None)
        return node or slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self) -> list:
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self):
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    def __init__(self, *arguments, **keywords) -> None:
        super().__init__(*arguments, **keywords)
        self.messageDelay = 0

    def delayDisplay(self, message: str, requestedDelay=None, msec=None) -> None:
        logging.info(message)

    def runTest(self) -> None:
        """For the module to override; without it there is nothing to test."""


def install() -> None:
    classes = (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
    module = StrictModule("slicer.ScriptedLoadableModule", **{cls.__name__: cls for cls in classes})
    module.__dict__["__all__"] = [cls.__name__ for cls in classes]
    slicer.ScriptedLoadableModule = sys.modules["slicer.ScriptedLoadableModule"] = module
