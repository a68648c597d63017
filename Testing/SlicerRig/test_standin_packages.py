"""Packages, extensions and sample data of the stand-ins: looked up for real, never installed, never downloaded."""

from __future__ import annotations

from subprocess import CalledProcessError

import pytest

pytest.importorskip("PySide6", reason="needs PySide6-Essentials")

import slicer
import standins.session  # noqa: F401  (makes slicer.packaging importable)


def test_packages_are_looked_up_and_never_installed(session, tmp_path):
    from slicer.packaging import load_requirements, pip_check, pip_ensure

    session.testing = False
    file = tmp_path / "requirements.txt"
    file.write_text("# comment\n--only-binary :all:\nnumpy>=1.26\nnibabel>=5\n", encoding="utf-8")
    requirements = load_requirements(file)
    assert [r.name for r in requirements] == ["numpy", "nibabel"]
    assert pip_check(requirements) and not pip_check("numpy>=99")
    assert pip_ensure(requirements, requester="Tiny") is None
    session.packages.declare_missing("nibabel")
    assert not pip_check(requirements)
    with pytest.raises(ModuleNotFoundError):
        __import__("nibabel.nicom")
    session.packages.answers = [False, True]
    with pytest.raises(RuntimeError, match="declined"):
        pip_ensure(requirements, requester="Tiny")
    pip_ensure(requirements, requester="Tiny")
    assert [r.names for r in session.packages.requests] == [["nibabel>=5"]]
    assert pip_check(requirements)


def test_installing_offline_fails_as_pip_does(session):
    from slicer.packaging import isPipInstallInProgress, pip_ensure, pip_install

    session.packages.declare_missing("monai")
    session.packages.offline = True
    assert pip_ensure("monai", requester="Tiny") is None  # testing mode: nothing happens, as in Slicer
    session.testing = False
    with pytest.raises(CalledProcessError):
        pip_ensure("monai", requester="Tiny", prompt_install=False)
    lines, codes = [], []
    pip_install("monai", blocking=False, logCallback=lines.append, completedCallback=codes.append)
    assert isPipInstallInProgress()
    with pytest.raises(RuntimeError, match="progress"):
        pip_install("einops", blocking=False)
    while not codes:
        slicer.app.processEvents()
    assert codes == [1] and "No matching distribution" in lines[-1] and not isPipInstallInProgress()


def test_requirements_with_a_comment_behind_raise(session, tmp_path):
    from packaging.requirements import InvalidRequirement
    from slicer.packaging import load_requirements

    file = tmp_path / "requirements.txt"
    file.write_text("numpy>=1.26  # arrays\n", encoding="utf-8")
    with pytest.raises(InvalidRequirement):
        load_requirements(file)


def test_pytorch_comes_from_its_extension(session):
    import PyTorchUtils

    logic = PyTorchUtils.PyTorchUtilsLogic()
    session.packages.declare_missing("torch")
    assert not logic.torchInstalled()
    session.packages.answers = [True]
    assert logic.installTorch(askConfirmation=True, torchVersionRequirement=">=2.6").__version__
    assert logic.torchInstalled()
    session.extensions.start_with()
    with pytest.raises(ModuleNotFoundError):
        __import__("PyTorchUtils")
    manager = slicer.app.extensionsManagerModel()
    assert not manager.isExtensionInstalled("PyTorch")
    assert manager.installExtensionFromServer("PyTorch", False)
    assert manager.isExtensionInstalled("PyTorch")


def test_a_sample_is_made_by_its_own_downloader(session):
    import SampleData
    from standins import sample_data

    made = []
    for _ in range(2):  # registering twice has no effect, as in Slicer
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category="Tiny", sampleName="TinyHeart", uris="x", fileNames="x.nrrd", customDownloader=made.append
        )
    assert len(SampleData.SampleDataLogic.sampleDataSourcesByCategory("Tiny")) == 1
    sample_data.click("TinyHeart")
    assert [source.sampleName for source in made] == ["TinyHeart"]
    with pytest.raises(TypeError):
        SampleData.SampleDataLogic.registerCustomSampleDataSource(sampleName="None", customDownloader=made.append)
