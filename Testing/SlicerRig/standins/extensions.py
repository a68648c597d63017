"""Stand-ins of the extensions manager and of the PyTorch extension's ``PyTorchUtils``, with their test controls."""

from __future__ import annotations

import importlib.metadata
import sys

from PySide6 import QtCore

from .installed import InstalledPackages, Request
from .stand_in import stand_in, stored_property
from .strict import StrictModule


@stand_in
class qSlicerExtensionsManagerModel(QtCore.QObject):
    """``slicer.app.extensionsManagerModel()``. As in Slicer, an extension that was just installed is not loaded before
    Slicer is started again. Tests reach what is behind it through ``ExtensionsControl``."""

    _control: ExtensionsControl

    interactive = stored_property(bool, "interactive", True)

    def __init__(self, control: ExtensionsControl) -> None:
        super().__init__()
        self._control = control

    def isExtensionInstalled(self, extensionName: str) -> bool:
        return extensionName in self._control.installed

    def installExtensionFromServer(self, extensionName: str, restart: bool = True, update: bool = True) -> bool:
        return self._control.install(extensionName, restart)


class ExtensionsControl:
    """Which extensions are installed, and which of them were there when Slicer started (PyTorch is the only one whose
    module can be imported)."""

    def __init__(self, packages: InstalledPackages) -> None:
        self.packages = packages
        self.installed: set[str] = set()
        self.start_with("PyTorch")

    def start_with(self, *names: str) -> None:
        """As if Slicer had been started with these extensions."""
        self.installed = set(names)
        sys.modules.pop("PyTorchUtils", None)
        if "PyTorch" in names:
            sys.modules["PyTorchUtils"] = StrictModule("PyTorchUtils", PyTorchUtilsLogic=_make_logic(self.packages))

    def install(self, name: str, restart: bool) -> bool:
        """False when offline, as the manager answers."""
        self.packages.requests.append(Request("installExtensionFromServer", [name], {"restart": restart}))
        if not self.packages.offline:
            self.installed.add(name)
        return not self.packages.offline


def _make_logic(packages: InstalledPackages) -> type:
    class PyTorchUtilsLogic:
        """Records what would be installed. ``torch`` is only a name with the version of the real package."""

        @staticmethod
        def torchInstalled() -> bool:
            try:
                importlib.metadata.files("torch")
            except importlib.metadata.PackageNotFoundError:
                return False
            return True

        def installTorch(
            self,
            askConfirmation=False,
            forceComputationBackend=None,
            torchVersionRequirement=None,
            torchvisionVersionRequirement=None,
        ):
            """Returns the module, or None where the user declined. Raises CalledProcessError when offline."""
            if askConfirmation and not packages.answer("PyTorchUtils asks whether to install PyTorch"):
                return None
            packages.install("installTorch", [f"torch{torchVersionRequirement or ''}", "torchvision"])
            return StrictModule("torch", __version__=importlib.metadata.version("torch"))

        @property
        def torch(self):
            if not self.torchInstalled():
                return self.installTorch()
            return StrictModule("torch", __version__=importlib.metadata.version("torch"))

    return PyTorchUtilsLogic
