"""Removing what BiPVLSeg keeps: all that is ours goes, nothing else does, and nothing goes unasked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from BiPVLSegLib import leftovers, model_store, removal
from BiPVLSegLib.cli import main
from BiPVLSegLib.paths import models_folder


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A home folder and a temporary folder of the test's own."""
    home = tmp_path / "home, Müller"
    home.mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.delenv("BIPVLSEG_MODELS", raising=False)
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "tmp"))
    return home


@pytest.fixture
def models(home) -> Path:
    folder = home / ".bipvlseg" / "models"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def temporary(tmp_path) -> Path:
    """Slicer's temporary folder."""
    folder = tmp_path / "tmp" / "Slicer"
    folder.mkdir()
    return folder


def write_model(folder: Path, **config) -> Path:
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bipvlseg", **config}), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"0" * 2_500_000)
    (folder / "tokenizer" / "vocab.txt").write_text("heart\n", encoding="utf-8")
    return folder


def write_run(temporary: Path, name: str = "BiPVLSeg-ab12_cd3") -> Path:
    """What a Slicer leaves behind that is killed during a run."""
    folder = temporary / name
    (folder / "job-1").mkdir(parents=True)
    (folder / "job-1" / "volume.npy").write_bytes(b"0" * 1_000_000)
    (folder / "lock").write_bytes(b"")
    return folder


def make_link(link: Path, target: Path) -> Path:
    try:
        link.symlink_to(target, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")
    return link


def make_old(path: Path) -> Path:
    old = time.time() - 2 * leftovers.YOUNG_SECONDS
    os.utime(path, (old, old))
    return path


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_all_that_is_ours_goes_and_no_empty_folder_stays(home, models, temporary):
    write_model(models / "liver")
    write_model(models / "of a newer BiPVLSeg", format_version=99)
    write_run(temporary)
    done = removal.remove(removal.find_kept())
    assert done.problems == [] and len(done.removed) == 5
    assert files(home) == set() and files(temporary) == set()
    assert removal.find_kept() == []


def test_sizes_are_those_of_the_files(models, temporary):
    write_model(models / "liver")
    write_run(temporary)
    sizes = {item.path.name: removal.megabytes(item.size) for item in removal.find_kept()}
    assert sizes["liver"] == "2.5 MB" and sizes["BiPVLSeg-ab12_cd3"] == "1.0 MB"


def test_what_is_not_ours_stays(home, models):
    write_model(models / "liver")
    (models / "notes.txt").write_text("patients", encoding="utf-8")
    for name, content in (("other", '{"model_type": "bert"}'), ("broken", "{"), ("list", "[]")):
        (models / name).mkdir()
        (models / name / "config.json").write_text(content, encoding="utf-8")
    (models / "scans").mkdir()
    write_model(models / "run" / "best")  # a training run: its folder holds more than a model
    (home / ".bipvlseg" / "mine").mkdir()
    others = {name for name in files(models) if not name.startswith("liver")}
    assert [item.path for item in removal.find_kept()] == [models / "liver"]
    removal.remove(removal.find_kept())
    assert files(models) == others
    sentence = removal.foreign_text()
    assert str(models) in sentence and "broken, list, notes.txt, other, run and 1 more" in sentence


def test_a_link_goes_and_what_it_leads_to_stays(models, tmp_path):
    real = write_model(tmp_path / "archive" / "liver")
    foreign = make_link(models / "scans", tmp_path)
    link = make_link(models / "liver", real)
    inside = write_model(models / "heart")
    make_link(inside / "more", real)
    before = files(tmp_path / "archive")
    done = removal.remove(removal.find_kept())
    assert done.problems == []
    assert not os.path.lexists(link) and not inside.exists()
    assert files(tmp_path / "archive") == before and os.path.lexists(foreign)


@pytest.mark.parametrize("linked", [".bipvlseg", ".bipvlseg/models"])
def test_a_models_folder_that_is_a_link_is_not_followed(home, tmp_path, linked):
    target = tmp_path / "big disk"
    write_model((target / "models" if linked == ".bipvlseg" else target) / "liver")
    (home / linked).parent.mkdir(exist_ok=True)
    link = make_link(home / linked, target)
    before = files(target)
    assert "stays" in removal.foreign_text()
    removal.remove(removal.find_kept())
    assert not os.path.lexists(link) and files(target) == before


def test_a_link_that_the_user_has_named_stays(tmp_path, monkeypatch):
    target = tmp_path / "big disk"
    write_model(target / "liver")
    link = make_link(tmp_path / "models", target)
    monkeypatch.setenv("BIPVLSEG_MODELS", str(link))
    assert removal.find_kept() == [] and "is a link" in removal.foreign_text()


def test_the_folder_that_the_user_has_named_is_looked_at_and_no_other(models, tmp_path, monkeypatch):
    other = write_model(models / "liver")
    named = write_model(tmp_path / ".bipvlseg" / "models" / "heart")
    (tmp_path / ".bipvlseg" / "models" / "notes").mkdir()
    monkeypatch.setenv("BIPVLSEG_MODELS", str(named.parent))
    removal.remove(removal.find_kept())
    assert not named.exists() and (named.parent / "notes").is_dir() and other.is_dir()
    (named.parent / "notes").rmdir()
    removal.remove(removal.find_kept())
    assert not named.parent.exists() and named.parent.parent.is_dir(), "the parent of a named folder is not ours"


def test_bundled_models_are_never_listed(monkeypatch):
    monkeypatch.setenv("BIPVLSEG_MODELS", str(models_folder()))
    assert model_store.available_models() and removal.find_kept() == []


def test_what_cannot_be_removed_is_named_and_the_rest_goes(models, monkeypatch):
    held, free = write_model(models / "a held one"), write_model(models / "free")
    unlink = Path.unlink

    def refuse(path, *arguments, **keywords):
        if path.parent == held:
            raise PermissionError(13, "Permission denied")
        unlink(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "unlink", refuse)
    done = removal.remove(removal.find_kept())
    assert [item.path for item in done.removed] == [free] and not free.exists()
    (problem,) = done.problems
    assert str(held) in problem and "Permission denied" in problem and problem.endswith(".")
    monkeypatch.undo()
    assert (held / "config.json").is_file(), "it is still listed"


def test_what_has_changed_since_it_was_listed_stays(models):
    write_model(models / "liver")
    write_model(models / "heart")
    kept = removal.find_kept()
    (models / "liver" / "config.json").write_text("{}", encoding="utf-8")
    (models / "new.txt").write_text("", encoding="utf-8")
    done = removal.remove(kept)
    assert (models / "liver" / "model.safetensors").is_file() and not (models / "heart").exists()
    assert len(done.problems) == 1 and "liver" in done.problems[0]
    assert (models / "new.txt").is_file()


def test_files_of_a_slicer_that_runs_stay(temporary):
    left, used = write_run(temporary), write_run(temporary, "BiPVLSeg-in_use00")
    lock = leftovers.take_lock(used)
    young = temporary / "BiPVLSeg-constraints-1.txt"
    young.write_text("", encoding="utf-8")
    old = temporary / "BiPVLSeg-constraints-2.txt"
    old.write_text("", encoding="utf-8")
    make_old(old)
    (temporary / "BiPVLSeg-results").mkdir()  # somebody's own
    (temporary / "BiPVLSeg-results" / "heart.nrrd").write_bytes(b"")
    make_old(temporary / "BiPVLSeg-results")
    make_link(temporary / "BiPVLSeg-link", temporary.parent)
    before = files(temporary)
    kept = removal.find_kept()
    assert files(temporary) == before, "listing changes nothing"
    assert {item.path for item in kept} == {left, old}
    removal.remove(kept)
    assert not left.exists() and not old.exists()
    assert (used / "job-1" / "volume.npy").is_file() and young.is_file()
    assert (temporary / "BiPVLSeg-results" / "heart.nrrd").is_file()
    lock.close()


# ---- the command line ------------------------------------------------------------------------------------------------


def test_without_yes_everything_is_listed_and_nothing_removed(home, models, temporary, capsys):
    write_model(models / "liver")
    (models / "notes.txt").write_text("", encoding="utf-8")
    run = write_run(temporary)
    before = files(home)
    assert main(["remove"]) == 0
    printed = capsys.readouterr().out
    for words in ("2.5 MB", str(models / "liver"), str(run), "3.5 MB", "notes.txt", "remove --yes", "Nothing was removed",
                  "settings of the panel"):  # fmt: skip
        assert words in printed, words
    assert files(home) == before and run.is_dir()


def test_with_yes_it_is_removed_and_said(home, models, temporary, capsys):
    write_model(models / "liver")
    run = write_run(temporary)
    assert main(["remove", "--yes"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Removed:") and str(models / "liver") in printed
    assert files(home) == set() and not run.exists()
    assert main(["remove", "--yes"]) == 0
    assert "no models of your own" in capsys.readouterr().out


def test_what_cannot_be_removed_is_an_error(models, capsys, monkeypatch):
    held = write_model(models / "held")
    write_model(models / "free")
    remove_model = removal.remove_model

    def refuse(folder):
        if folder == held:
            raise PermissionError(13, "Permission denied")
        remove_model(folder)

    monkeypatch.setattr(removal, "remove_model", refuse)
    assert main(["remove", "--yes"]) == 1
    captured = capsys.readouterr()
    assert str(models / "free") in captured.out and str(held) not in captured.out
    assert captured.err.startswith("error: ") and str(held) in captured.err


def test_torch_and_numpy_are_not_needed():
    code = "import sys\nimport BiPVLSegLib.removal, BiPVLSegLib.cli.remove\nprint(sorted({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
