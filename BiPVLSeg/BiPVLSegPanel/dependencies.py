"""Which Python packages BiPVLSeg needs, which of them are missing, and which versions are there.

Nothing is imported to find out: torch alone takes seconds to import, and a package that was imported cannot be replaced
before the next start of Slicer.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import slicer
from slicer.i18n import tr as _

REQUIREMENTS_FILE = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
TORCH = "torch>=2.8"  # MONAI 1.6 needs 2.8
OLDEST_SLICER = "5.12"

# What Slicer or the PyTorch extension has put there: pip must leave these at the version that is installed.
_PROTECTED = ("torch", "torchvision", "numpy", "SimpleITK", "vtk", "scipy", "pydicom", "requests")


@dataclass(frozen=True)
class Requirement:
    """A package that is missing or too old. ``megabytes`` is roughly what is downloaded for it and what it needs."""

    name: str
    reason: str
    megabytes: float
    specifier: str = ""  # as pip takes it
    installed: str = ""  # the version that is there and too old

    @property
    def size(self) -> str:
        """For example "about 30 MB"."""
        return describeSize(self.megabytes)


def missingRequirements() -> list[Requirement]:
    """What has to be installed before a run, PyTorch first. Empty when everything is there.

    Takes some milliseconds, and looks anew each time. Right after an installation, call ``importlib.invalidate_caches``
    first.
    """
    packaging = slicerPackaging()
    if packaging is None:
        return [Requirement(f"3D Slicer {OLDEST_SLICER}", tooOldText(), 0.0)]
    wanted = [TORCH, *(str(requirement) for requirement in packaging.load_requirements(REQUIREMENTS_FILE))]
    return [_requirement(specifier) for specifier in wanted if not _isThere(specifier, packaging)]


def slicerPackaging():
    """The module ``slicer.packaging``, or None in a Slicer that is too old to have it."""
    try:
        return importlib.import_module("slicer.packaging")
    except ModuleNotFoundError:
        return None


def tooOldText() -> str:
    return _("This version of 3D Slicer is too old for BiPVLSeg; install Slicer {version} or newer.").format(
        version=OLDEST_SLICER
    )


def version(package: str) -> str:
    """Installed version, or "" where the package is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def constraints() -> str:
    """A constraints file for pip that keeps what Slicer and the PyTorch extension brought at its version.

    (``skip_packages`` of ``slicer.packaging`` would do it by ignoring dependencies; pip would then neither notice nor
    report a conflict.)
    """
    lines = [f"{package}=={version(package)}" for package in _PROTECTED if version(package)]
    return "\n".join(lines) + "\n"


def installedText() -> str:
    """One line of versions for a bug report."""
    import BiPVLSegLib

    facts = [f"BiPVLSeg {BiPVLSegLib.__version__}"]
    for package in ("torch", "monai", "transformers", "numpy"):
        facts.append(f"{package} {version(package)}" if version(package) else _("no {package}").format(package=package))
    facts += [f"Slicer {slicer.app.applicationVersion}", f"Python {platform.python_version()}"]
    facts.append(" ".join(part for part in (platform.system(), platform.release(), platform.machine()) if part))
    return _("Installed: {facts}").format(facts=", ".join(facts))


def describeSize(megabytes: float) -> str:
    if megabytes >= 1000:
        return _("about {size} GB").format(size=f"{megabytes / 1000:.1f}")
    if megabytes < 1:
        return _("less than 1 MB")
    return _("about {size} MB").format(size=f"{megabytes:.0f}")


def packageName(specifier: str) -> str:
    """``torch`` of ``torch>=2.8``."""
    from packaging.requirements import Requirement as Specifier

    return Specifier(specifier).name


def _isThere(specifier: str, packaging) -> bool:
    if not packaging.pip_check(specifier):
        return False
    try:  # a half-deleted package still has its metadata
        return importlib.util.find_spec(packageName(specifier)) is not None
    except ValueError:  # loaded from no file: it is there
        return packageName(specifier) in sys.modules


def _requirement(specifier: str) -> Requirement:
    name = packageName(specifier)
    reason, megabytes = _facts().get(name, (_("needed by BiPVLSeg"), 10.0))
    return Requirement(name, reason, megabytes, specifier, version(name))


def _facts() -> dict[str, tuple[str, float]]:
    """Why each package is needed, and the megabytes to download for it and what it depends on (wheels of late 2026)."""
    return {
        "torch": (_("runs the networks"), _torchMegabytes()),
        "monai": (_("building blocks of the networks"), 2.0),
        "einops": (_("used by MONAI"), 0.1),
        "transformers": (_("reads the concept texts"), 25.0),
        "safetensors": (_("reads model files"), 0.5),
        "scipy": (_("finds connected pieces"), 35.0),
        "nibabel": (_("NIfTI files, for the command line"), 3.3),
        "slicerio": (_("segmentation files, for the command line"), 1.0),
    }


def _torchMegabytes() -> float:
    """The build with CUDA, which is chosen where there is an NVIDIA driver, is more than ten times as large."""
    if sys.platform == "darwin":
        return 100.0
    return 3000.0 if shutil.which("nvidia-smi") else 250.0
