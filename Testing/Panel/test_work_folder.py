"""Temporary folders: there for the run, gone afterwards, also after a crash; those of another Slicer are left alone."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time

import pytest
from BiPVLSegPanel import workfolder
from BiPVLSegPanel.workerprocess import workerFolder
from BiPVLSegPanel.workfolder import WorkFolder

from BiPVLSegLib import leftovers
from BiPVLSegLib.errors import OutputError


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "Temp für Ärzte 文件夹"
    root.mkdir()
    return root


@pytest.fixture
def application(root):
    """Another Slicer that has a folder with a job in it; returns the process and the folder."""
    code = """
        import sys, time
        sys.path[:0] = sys.argv[2:]
        from BiPVLSegPanel.workfolder import WorkFolder
        folder = WorkFolder(sys.argv[1])
        (folder.jobFolder() / "volume.npy").write_bytes(b"0" * 1000)
        print(folder.path, flush=True)
        time.sleep(600)
    """
    folders = [str(workerFolder()), str(workerFolder() / "BiPVLSeg")]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(root), *folders],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONUTF8": "1"},
        encoding="utf-8",
    )
    path = root / os.path.basename(process.stdout.readline().strip())
    yield process, path
    process.kill()
    process.wait()
    process.stdout.close()


def test_job_folders_are_separate_and_private_and_close_removes_all(root):
    work = WorkFolder(root)
    first, second = work.jobFolder(), work.jobFolder()
    assert first != second and first.parent == second.parent == work.path and work.path.parent == root
    assert work.path.name.startswith("BiPVLSeg-") and work.path.stat().st_mode & 0o077 == 0
    (first / "volume.npy").write_bytes(b"0")
    (second / "sub").mkdir()
    work.remove(first)
    assert not first.exists() and second.exists()
    work.remove(first)
    work.close()
    work.close()
    assert not list(root.iterdir())


def test_what_cannot_be_removed_now_is_found_again(root, monkeypatch):
    work = WorkFolder(root)
    job = work.jobFolder()
    (job / "volume.npy").write_bytes(b"patient")
    with monkeypatch.context() as held:
        held.setattr("shutil.rmtree", lambda folder, ignore_errors=False: None)  # as Windows, while a file is open
        work.close()
    assert (job / "volume.npy").exists() and (work.path / leftovers.LOCK).exists()
    assert WorkFolder.removeStale(root) == 1 and not list(root.iterdir())


def test_remove_touches_nothing_but_its_own_job_folders(root):
    work = WorkFolder(root)
    (root / "patient").mkdir()
    for folder in (root / "patient", root, work.path):
        work.remove(folder)
    assert (root / "patient").is_dir() and work.path.is_dir()
    work.close()


def test_folder_of_a_killed_slicer_is_removed_at_the_next_start(root, application):
    process, path = application
    assert WorkFolder.removeStale(root) == 0 and list(path.glob("job-*/volume.npy"))
    process.kill()
    process.wait()
    assert WorkFolder.removeStale(root) == 1
    assert not list(root.iterdir())


def test_own_living_folder_and_foreign_things_stay(root):
    work = WorkFolder(root)
    job = work.jobFolder()
    outside = root / "precious"
    (outside / "job-1").mkdir(parents=True)
    old = time.time() - 2 * leftovers.YOUNG_SECONDS
    os.utime(outside, (old, old))
    (root / "BiPVLSeg-link").symlink_to(outside, target_is_directory=True)
    (root / "BiPVLSeg-file").write_text("")
    (root / "BiPVLSeg.mrb").write_text("")
    young = root / "BiPVLSeg-young"  # between being made and being locked
    young.mkdir()
    assert WorkFolder.removeStale(root) == 0
    assert job.is_dir() and (outside / "job-1").is_dir() and young.is_dir() and len(list(root.iterdir())) == 6
    os.utime(young, (old, old))
    assert WorkFolder.removeStale(root) == 1 and not young.exists()
    work.close()


def test_a_folder_removed_under_our_hands_is_replaced(root, monkeypatch):
    """Another Slicer's start may remove a folder in the moment before it is locked."""
    take = leftovers.take_lock
    answers = [None]
    monkeypatch.setattr(workfolder, "take_lock", lambda path: answers.pop() if answers else take(path))
    work = WorkFolder(root)
    assert work.path.is_dir() and WorkFolder.removeStale(root) == 0
    work.close()


def test_lock_of_a_removed_folder_is_none(root, monkeypatch):
    """The lock can be taken, but meanwhile the folder was removed and made again: then it is not ours."""
    folder = root / "BiPVLSeg-x"
    folder.mkdir()
    lock = leftovers.lock_file

    def lockAndReplace(file):
        lock(file)
        (folder / "lock").unlink()
        (folder / "lock").touch()

    monkeypatch.setattr(leftovers, "lock_file", lockAndReplace)
    assert leftovers.take_lock(folder) is None


def test_root_that_cannot_be_used_is_a_sentence(root):
    with pytest.raises(OutputError, match="temporary folder .*nowhere"):
        WorkFolder(root / "nowhere")
    assert WorkFolder.removeStale(root / "nowhere") == 0
    work = WorkFolder(root)
    work.close()
    with pytest.raises(OutputError, match="temporary folder"):
        work.jobFolder()
