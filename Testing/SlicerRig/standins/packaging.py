"""Stand-in of ``slicer.packaging`` (Slicer 5.12): its functions with its signatures, checks and refusals; never a pip.

Requirements are really parsed and really compared with what is installed. What would be installed goes to
``standins.installed.InstalledPackages``, where a test decides whether it succeeds.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import slicer
import slicer.util
from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement, Requirement

from .installed import PACKAGES, InstalledPackages
from .strict import StrictModule


def load_requirements(path: str | Path) -> list[Requirement]:
    """Lines that are empty or start with # or - are skipped; a comment behind a requirement raises, as in Slicer."""
    lines = (line.strip() for line in Path(path).read_text().splitlines())
    return [Requirement(line) for line in lines if line and line[0] not in "#-"]


def load_pyproject_dependencies(path: str | Path) -> list[Requirement]:
    content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    if "project" not in content:
        raise KeyError(f"no [project] table in {path}")
    return [Requirement(text) for text in content["project"].get("dependencies", [])]


def _as_requirements(given) -> list[Requirement]:
    if isinstance(given, str):
        try:
            return [Requirement(given)]
        except InvalidRequirement:
            return [Requirement(part) for part in given.split()]
    if isinstance(given, Requirement):
        return [given]
    if isinstance(given, list):
        return [Requirement(item) if isinstance(item, str) else item for item in given]
    raise TypeError(f"expected str, Requirement or list, got {type(given).__name__}")


def pip_check(req, _seen: set | None = None) -> bool:
    seen = set() if _seen is None else _seen
    return all(_satisfied(requirement, seen) for requirement in _as_requirements(req))


def _satisfied(requirement: Requirement, seen: set) -> bool:
    key = (requirement.name.lower(), frozenset(requirement.extras))
    if key in seen or requirement.marker and not requirement.marker.evaluate():
        return True
    seen.add(key)
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    if version not in requirement.specifier:
        return False
    needed = [Requirement(text) for text in importlib.metadata.requires(requirement.name) or []]
    environments = [{**default_environment(), "extra": extra} for extra in requirement.extras]
    activated = [r for r in needed if r.marker and any(r.marker.evaluate(e) for e in environments)]
    return all(_satisfied(Requirement(str(r).split(";")[0].strip()), seen) for r in activated)


class Packaging:
    """The functions that would change the Python of Slicer, over one test control."""

    def __init__(self, packages: InstalledPackages) -> None:
        self.packages = packages

    def isPipInstallInProgress(self) -> bool:
        return self.packages.in_progress

    def pip_ensure(
        self,
        requirements,
        constraints=None,
        skip_packages=None,
        prompt_install=True,
        prompt_restart=True,
        requester=None,
        skip_in_testing=True,
        show_progress=True,
    ):
        missing = [requirement for requirement in _as_requirements(requirements) if not pip_check(requirement)]
        if not missing or skip_in_testing and slicer.app.testingEnabled():
            return None
        if prompt_install and not slicer.app.testingEnabled():
            if not self.packages.answer(f"pip_ensure asks whether to install {[str(r) for r in missing]}"):
                raise RuntimeError("User declined package installation")
        return self.pip_install(
            [str(requirement) for requirement in missing],
            constraints=constraints,
            skip_packages=skip_packages,
            show_progress=show_progress,
            requester=requester,
        )

    def pip_install(
        self,
        requirements,
        constraints=None,
        no_deps_requirements=None,
        skip_packages=None,
        blocking=True,
        show_progress=True,
        requester=None,
        parent=None,
        logCallback=None,
        completedCallback=None,
    ):
        if skip_packages is not None and (no_deps_requirements is not None or not blocking):
            raise ValueError("skip_packages goes neither with no_deps_requirements nor with blocking=False")
        if not isinstance(requirements, str | list):
            raise ValueError("pip_install takes a string or a list")
        texts = requirements.split() if isinstance(requirements, str) else [str(text) for text in requirements]
        options = {"constraints": constraints, "skip_packages": skip_packages, "requester": requester}
        if blocking:
            slicer.app.processEvents()  # Slicer's progress dialog does
            self.packages.install("pip_install", texts, **options)
            return [] if skip_packages is not None else None
        if self.packages.in_progress:
            raise RuntimeError("a non-blocking pip_install is already in progress")
        self._start(texts, options, logCallback or print, completedCallback or (lambda code: None))
        return None

    def _start(self, texts: list[str], options: dict, log, completed) -> None:
        """Delivers the lines of pip and its end from the event loop, one by one."""
        import qt

        code = 0
        try:
            lines = self.packages.install("pip_install", texts, **options)
        except subprocess.CalledProcessError as error:
            lines, code = error.output.splitlines(), error.returncode
        self.packages.in_progress = True
        timer = qt.QTimer()
        timer.interval = 10

        def tick() -> None:
            if lines:
                log(lines.pop(0))
                return
            timer.stop()
            self.packages.in_progress = False
            completed(code)

        timer.timeout.connect(tick)
        timer.start()
        self._timer = timer

    def pip_uninstall(self, requirements, blocking=True, logCallback=None, completedCallback=None) -> None:
        raise AssertionError(f"the module wants to uninstall {requirements}; BiPVLSeg never does")


def install() -> None:
    """Makes it importable as ``slicer.packaging``; every other name in that module raises."""
    functions = Packaging(PACKAGES)
    slicer.packaging = sys.modules["slicer.packaging"] = StrictModule(
        "slicer.packaging",
        load_requirements=load_requirements,
        load_pyproject_dependencies=load_pyproject_dependencies,
        pip_check=pip_check,
        pip_ensure=functions.pip_ensure,
        pip_install=functions.pip_install,
        pip_uninstall=functions.pip_uninstall,
        isPipInstallInProgress=functions.isPipInstallInProgress,
    )
