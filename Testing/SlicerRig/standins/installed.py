"""Which Python packages a test pretends are missing, and what happened when the module under test asked to install some.

Nothing is ever installed. What is on the machine is looked up for real; a package declared missing is then hidden from
``importlib.metadata`` and from imports, until an installation that "succeeds" brings it back.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import subprocess
from dataclasses import dataclass, field

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

OFFLINE_LOG = (
    "WARNING: Retrying after connection broken by 'NewConnectionError: Failed to establish a new connection'",
    "ERROR: Could not find a version that satisfies the requirement {name} (from versions: none)",
    "ERROR: No matching distribution found for {name}",
)


@dataclass
class Request:
    """One call that asked to install something."""

    function: str  # "pip_install", "installTorch" or "installExtensionFromServer"
    names: list[str]
    options: dict = field(default_factory=dict)


class InstalledPackages:
    """Test control. ``missing`` holds the names; ``offline`` makes every installation fail as pip does without a network;
    ``answers`` are the user's answers to Slicer's own questions; a question without an answer fails the test."""

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.offline = False
        self.answers: list[bool] = []
        self.requests: list[Request] = []
        self.in_progress = False
        self._originals: tuple | None = None

    def declare_missing(self, *names: str) -> None:
        self.missing |= {canonicalize_name(name) for name in names}
        self._hide()

    def is_missing(self, name: str) -> bool:
        return canonicalize_name(name) in self.missing

    def answer(self, question: str) -> bool:
        """The user's answer to a question of Slicer's own."""
        if not self.answers:
            raise AssertionError(f"{question}, and the test gave no answer")
        return self.answers.pop(0)

    def install(self, function: str, requirements: list[str], **options) -> list[str]:
        """Records the request; returns the lines that pip would print. Raises CalledProcessError when offline."""
        names = [canonicalize_name(Requirement(text).name) for text in requirements if not text.startswith("-")]
        self.requests.append(Request(function, list(requirements), options))
        if self.offline:
            lines = [line.format(name=names[0]) for line in OFFLINE_LOG]
            raise subprocess.CalledProcessError(1, "pip install", output="\n".join(lines))
        self.missing -= set(names)
        return [*(f"Collecting {name}" for name in names), f"Successfully installed {' '.join(names)}"]

    def reset(self) -> None:
        """Everything that is on the machine is visible again; nothing was asked for."""
        self.missing.clear()
        self.answers.clear()
        self.requests.clear()
        self.offline = self.in_progress = False
        if self._originals:
            importlib.metadata.Distribution.from_name, importlib.machinery.PathFinder.find_spec = self._originals
            self._originals = None

    def _hide(self) -> None:
        if self._originals:
            return
        from_name = importlib.metadata.Distribution.from_name
        find_spec = importlib.machinery.PathFinder.find_spec
        self._originals = from_name, find_spec

        def visible_from_name(name: str):
            if self.is_missing(name):
                raise importlib.metadata.PackageNotFoundError(name)
            return from_name(name)

        def visible_find_spec(fullname: str, path=None, target=None):
            if self.is_missing(fullname.partition(".")[0]):
                return None
            return find_spec(fullname, path, target)

        importlib.metadata.Distribution.from_name = staticmethod(visible_from_name)
        importlib.machinery.PathFinder.find_spec = staticmethod(visible_find_spec)


PACKAGES = InstalledPackages()
"""The only one: modules may have imported ``slicer.packaging`` long before a test starts its session."""
