"""The first run: what is missing is said, one question is asked, and only then something is installed."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import types
from pathlib import Path

import pytest
from install_desk import open_desk
from packaging.requirements import Requirement as Specifier

REPOSITORY = Path(__file__).resolve().parents[2]
ALL = ("torch", "monai", "einops", "transformers", "safetensors", "scipy", "nibabel", "slicerio")


@pytest.fixture
def desk(slicer_app, monkeypatch):
    with open_desk(slicer_app, monkeypatch) as desk:
        yield desk


# What is missing


def test_nothing_is_missing_where_everything_is_installed(desk):
    assert desk.missing() == []
    desk.install()
    assert desk.finished == [True]
    assert desk.calls == [] and desk.questions() == [] and desk.states == []


@pytest.mark.parametrize("package", ALL)
def test_each_needed_package_is_missed(desk, package):
    desk.packages.declare_missing(package)
    assert desk.missing() == [package]


def test_pytorch_comes_first_and_all_have_reason_and_size(desk):
    desk.packages.declare_missing(*ALL)
    missing = desk.installer.missing()
    assert [requirement.name for requirement in missing] == list(ALL)
    assert all(requirement.reason and requirement.size for requirement in missing)
    assert missing[0].megabytes >= 100


def test_a_version_that_is_too_old_is_missed_and_named(desk, monkeypatch):
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.5.1" if name == "monai" else version(name))
    (requirement,) = desk.installer.missing()
    assert (requirement.name, requirement.installed) == ("monai", "1.5.1")
    assert "version 1.5.1 is there and is too old" in desk.installer.consentText([requirement])


def test_a_package_whose_files_were_deleted_is_missed(desk, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "einops" else find(name))
    assert desk.missing() == ["einops"]


def test_looking_imports_nothing_heavy_and_is_quick():
    code = """
import sys, time
from pathlib import Path
sys.path[:0] = [str(Path(p)) for p in sys.argv[1:]]
import standins.session
session = standins.session.SlicerSession()
import BiPVLSegPanel.installer, BiPVLSegPanel.installsection, BiPVLSegPanel.settings, BiPVLSegPanel.sampledata
import BiPVLSegPanel.modelcatalogue, BiPVLSegPanel.volumeinfo
from BiPVLSegPanel.dependencies import missingRequirements, installedText
missingRequirements(); start = time.perf_counter(); missingRequirements(); installedText()
seconds = time.perf_counter() - start
session.close()
print([name for name in ("torch", "monai", "transformers", "scipy", "nibabel") if name in sys.modules], seconds < 0.2)
"""
    folders = [REPOSITORY, REPOSITORY / "BiPVLSeg", REPOSITORY / "Testing" / "SlicerRig"]
    answer = subprocess.run([sys.executable, "-c", code, *map(str, folders)], capture_output=True, text=True)
    assert answer.stdout.strip() == "[] True", answer.stderr


def test_a_slicer_that_is_too_old_says_so(desk, monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    (requirement,) = desk.installer.missing()
    assert requirement.name == "3D Slicer 5.12"
    desk.install()
    assert desk.finished == [False]
    assert ["5.12" in text for text in desk.answers.take_errors()] == [True]


# Asking and installing


def test_one_question_lists_everything_and_then_all_is_installed(desk):
    desk.packages.declare_missing(*ALL)
    desk.answers.give("confirm", True)
    desk.install()
    (question,) = desk.questions()
    assert all(name in question for name in ALL)
    assert "to download" in question and "numpy, SimpleITK" in question and "cannot be interrupted" in question
    assert desk.calls == ["installTorch", "pip_install"]
    assert desk.finished == [True]
    assert desk.missing() == []
    assert [name for name, _ in desk.states][0] == "INSTALLING"
    assert desk.runState.state.name == "IDLE" and "installed" in desk.runState.message


def test_declining_changes_nothing(desk):
    desk.packages.declare_missing("torch", "monai")
    desk.answers.give("confirm", False)
    desk.install()
    assert desk.finished == [False]
    assert desk.calls == [] and desk.states == []
    assert desk.missing() == ["torch", "monai"]
    assert not desk.installer.pending


def test_pytorch_comes_from_its_extension_and_never_from_pip(desk):
    desk.packages.declare_missing("torch", "einops")
    desk.answers.give("confirm", True)
    desk.install()
    torch, rest = desk.packages.requests
    assert torch.names[0] == "torch>=2.8"
    assert [Specifier(text).name for text in rest.names] == ["einops"]


def test_only_what_is_missing_is_installed_and_what_slicer_brought_is_kept(desk, monkeypatch):
    constraints = {}
    install = desk.packages.install

    def reading(function, names, **options):
        constraints["text"] = Path(options["constraints"]).read_text()
        return install(function, names, **options)

    monkeypatch.setattr(desk.packages, "install", reading)
    desk.packages.declare_missing("monai")
    desk.answers.give("confirm", True)
    desk.install()
    (request,) = desk.packages.requests
    assert request.names == ["monai>=1.6"]
    kept = constraints["text"].split()
    for package in ("torch", "numpy", "SimpleITK", "vtk"):
        assert f"{package}=={importlib.metadata.version(package)}" in kept
    assert not any(line.startswith("monai") for line in kept)


def test_slicer_stays_usable_while_pip_works(desk):
    desk.packages.declare_missing("monai")
    desk.answers.give("confirm", True)
    desk.installer.install(desk.finished.append)
    assert desk.installer.installing and desk.finished == []  # the call has returned already
    desk.installer.install(desk.finished.append)  # pressed again
    assert desk.finished == [False] and len(desk.answers.take_errors()) == 1
    desk.wait()
    assert desk.finished == [False, True]
    assert ("INSTALLING", "Collecting monai") in desk.states


def test_the_lines_of_pip_are_in_the_log(desk):
    desk.packages.declare_missing("monai")
    desk.answers.give("confirm", True)
    desk.install()
    assert "Successfully installed monai" in desk.runState.log


def test_what_pytorchs_installer_prints_is_in_the_log(desk, monkeypatch):
    install = desk.packages.install

    def printing(function, names, **options):
        print("Downloading torch")
        return install(function, names, **options)

    monkeypatch.setattr(desk.packages, "install", printing)
    desk.packages.declare_missing("torch")
    desk.answers.give("confirm", True)
    desk.install()
    assert ("INSTALLING", "Downloading torch") in desk.states


def test_nothing_is_installed_while_a_segmentation_runs(desk):
    from BiPVLSegPanel.runstate import State

    desk.packages.declare_missing("monai")
    desk.runState.to(State.STARTING)
    desk.installer.install(desk.finished.append)
    assert desk.finished == [False] and desk.calls == []
    assert len(desk.answers.take_errors()) == 1


def test_another_extensions_installation_is_waited_for(desk):
    desk.packages.declare_missing("monai")
    desk.packages.in_progress = True
    desk.answers.give("confirm", True)
    desk.install()
    assert desk.calls == [] and desk.finished == [False]
    assert "Another extension" in desk.answers.take_errors()[0]


def test_in_slicers_testing_mode_nothing_is_installed_and_that_is_noticed(desk):
    desk.packages.declare_missing("monai")
    desk.session.testing = True
    desk.answers.give("confirm", True)
    desk.install()
    assert desk.calls == [] and desk.finished == [False]
    assert "still missing: monai" in desk.answers.take_errors()[0]


def test_a_pip_that_reports_success_is_not_believed(desk, monkeypatch):
    monkeypatch.setattr(desk.packages, "install", lambda function, names, **options: ["Successfully installed monai"])
    desk.packages.declare_missing("monai")
    desk.answers.give("confirm", True)
    desk.install()
    assert desk.finished == [False] and desk.runState.state.name == "FAILED"
    assert "still missing: monai" in desk.answers.take_errors()[0]


def test_where_pytorch_is_not_there_after_its_installation_the_rest_is_not_tried(desk, monkeypatch):
    import PyTorchUtils

    monkeypatch.setattr(PyTorchUtils.PyTorchUtilsLogic, "installTorch", lambda self, **options: None)
    desk.packages.declare_missing("torch", "monai")
    desk.answers.give("confirm", True)
    desk.install()
    assert desk.calls == [] and desk.finished == [False]
    assert desk.runState.state.name == "FAILED"
    assert "no PyTorch >=2.8" in desk.answers.take_errors()[0]


# Failures


def test_offline_pip_says_what_to_do(desk):
    desk.packages.declare_missing("monai")
    desk.packages.offline = True
    desk.answers.give("confirm", True)
    desk.install()
    (error,) = desk.answers.take_errors()
    assert "no connection to the internet" in error
    assert "pip download" in error and "requirements.txt" in error and "--no-index" in error
    assert "NewConnectionError" in error  # the log is among the details
    assert desk.finished == [False]
    assert desk.runState.state.name == "FAILED" and "no connection" in desk.runState.message
    desk.packages.offline = False
    desk.answers.give("confirm", True)
    desk.install()
    assert desk.finished == [False, True] and desk.runState.state.name == "IDLE"


def test_offline_pytorch_says_what_to_do_and_pip_is_not_tried(desk):
    desk.packages.declare_missing("torch", "monai")
    desk.packages.offline = True
    desk.answers.give("confirm", True)
    desk.install()
    assert desk.calls == ["installTorch"]
    assert "no connection to the internet" in desk.answers.take_errors()[0]
    assert desk.finished == [False]


@pytest.mark.parametrize(
    "log, sentence",
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: [WinError 5] Access is denied: 'C:\\\\Program Files\\\\Slicer'", "cannot be written"),
        ("ProxyError('Cannot connect to proxy.', NewConnectionError('...'))", "proxy or a firewall"),
        ("socket.gaierror: [Errno 11001] getaddrinfo failed", "no connection to the internet"),
        ("ERROR: ResolutionImpossible: for help visit https://pip.pypa.io", "Another extension"),
        ("something else", "details say why"),
    ],
)
def test_failures_are_explained_in_a_sentence(slicer_app, log, sentence):
    from BiPVLSegPanel.installfailure import failureText

    assert sentence in failureText(log)


def test_pip_that_cannot_be_started_is_a_failure_with_a_sentence(desk, monkeypatch):
    import slicer.packaging

    def refuse(*arguments, **options):
        raise RuntimeError("PythonSlicer executable not found")

    monkeypatch.setattr(slicer.packaging, "pip_install", refuse)
    desk.packages.declare_missing("monai")
    desk.answers.give("confirm", True)
    desk.install()
    (error,) = desk.answers.take_errors()
    assert "PythonSlicer executable not found" in error
    assert desk.finished == [False]


def test_an_unforeseen_error_does_not_lock_the_panel(desk, monkeypatch):
    def broken(self, extensionName, restart=True, update=False):
        raise KeyError("surprise")

    monkeypatch.setattr(type(desk.session.extensions_model), "installExtensionFromServer", broken)
    desk.packages.declare_missing("torch")
    desk.extensions.start_with()
    desk.answers.give("confirm", True)
    with pytest.raises(KeyError):
        desk.install()
    assert desk.runState.state.name == "FAILED" and desk.finished == [False]
    assert "surprise" in desk.answers.take_errors()[0]


# The extension and the restart


def test_without_the_extension_it_is_installed_and_slicer_restarted_and_then_it_goes_on(desk):
    desk.packages.declare_missing("torch", "monai")
    desk.extensions.start_with()
    desk.answers.give("confirm", True)
    desk.answers.give("confirm", True)
    desk.install()
    consent, restart = desk.questions()
    assert "extension 'PyTorch'" in consent and "restarted" in consent
    assert "not saved is lost" in restart
    (request,) = desk.packages.requests
    assert (request.function, request.names, request.options["restart"]) == (
        "installExtensionFromServer",
        ["PyTorch"],
        False,
    )
    assert desk.session.restarts == 1 and desk.installer.pending
    assert desk.session.extensions_model.interactive is True

    later = desk.restarted()
    assert later.installer.pending and not later.installer.restartNeeded
    later.install()  # without another question
    assert len(later.questions()) == 2
    assert later.calls[1:] == ["installTorch", "pip_install"]
    assert later.finished == [True] and not later.installer.pending


def test_when_the_continued_installation_fails_the_next_attempt_asks_again(desk):
    desk.packages.declare_missing("torch")
    desk.settings.pendingInstall = True
    desk.packages.offline = True
    desk.install()
    assert desk.questions() == [] and len(desk.answers.take_errors()) == 1
    assert not desk.installer.pending
    desk.answers.give("confirm", False)
    desk.install()
    assert desk.finished == [False, False] and desk.calls == ["installTorch"]


def test_who_does_not_restart_now_can_do_it_later(desk):
    desk.packages.declare_missing("torch")
    desk.extensions.start_with()
    desk.answers.give("confirm", True)
    desk.answers.give("confirm", False)
    desk.install()
    assert desk.session.restarts == 0 and desk.finished == [False]
    assert desk.runState.state.name == "IDLE" and "Restart Slicer" in desk.runState.message
    assert desk.installer.restartNeeded
    desk.answers.give("confirm", True)
    desk.install()
    assert desk.session.restarts == 1
    assert desk.calls == ["installExtensionFromServer"]  # not downloaded twice


def test_offline_extension_says_what_to_do(desk):
    desk.packages.declare_missing("torch")
    desk.extensions.start_with()
    desk.packages.offline = True
    desk.answers.give("confirm", True)
    desk.install()
    (error,) = desk.answers.take_errors()
    assert "Extensions Manager" in error and "pip download" in error
    assert not desk.installer.pending and desk.runState.state.name == "FAILED"


def test_an_old_pytorch_that_is_in_use_waits_for_a_restart(desk, monkeypatch):
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.4.0" if name == "torch" else version(name))
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    desk.answers.give("confirm", True)
    desk.answers.give("confirm", True)
    desk.install()
    assert desk.calls == [] and desk.session.restarts == 1 and desk.installer.pending


def test_a_closed_panel_is_not_called_any_more(desk):
    desk.packages.declare_missing("monai")
    desk.answers.give("confirm", True)
    desk.installer.install(desk.finished.append)
    desk.installer.close()
    desk.wait()
    assert desk.finished == []
    assert desk.missing() == []
