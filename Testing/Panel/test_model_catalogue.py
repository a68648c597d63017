"""The list of models: bundled, the user's own and added folders; broken ones say what is wrong and hide no other."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from BiPVLSegLib.concepts import load_concepts
from BiPVLSegLib.paths import models_folder

BUNDLED = sorted(config.parent.name for config in models_folder().glob("*/config.json"))


@pytest.fixture
def catalogue(slicer_app):
    from BiPVLSegPanel.modelcatalogue import ModelCatalogue
    from BiPVLSegPanel.settings import Settings

    return ModelCatalogue(Settings())


@pytest.fixture
def userModels() -> Path:
    folder = Path(os.environ["BIPVLSEG_MODELS"])  # set by slicer_app
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def makeModel(folder: Path, modality="CT", classes=("liver", "spleen"), **more) -> Path:
    folder.mkdir(parents=True)
    config = {"model_type": "bipvlseg", "format_version": 1, "classes": list(classes), "concepts": "abdomen-ct"}
    config["preprocessing"] = {"modality": modality}
    (folder / "config.json").write_text(json.dumps({**config, **more}), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def names(catalogue) -> list[str]:
    return [entry.name for entry in catalogue.entries()]


def test_the_bundled_model_is_there_with_modality_and_organs(catalogue):
    entry = catalogue.find("cardiac-mr")
    assert (entry.origin, entry.modality, entry.problem) == ("bundled", "MR", "")
    assert entry.structures == load_concepts("cardiac-mr").names and "left atrium" in entry.structures
    assert entry.concepts == "cardiac-mr"
    assert "MR" in entry.title and "cardiac-mr" in entry.title
    assert (Path(entry.folder) / "model.safetensors").is_file()


def test_models_in_the_users_folder_are_listed(catalogue, userModels):
    makeModel(userModels / "abdomen")
    (userModels / "notes").mkdir()
    (userModels / ".hidden").mkdir()
    entry = catalogue.find("abdomen")
    assert (entry.origin, entry.modality, entry.structures) == ("user", "CT", ("liver", "spleen"))
    assert names(catalogue) == [*BUNDLED, "abdomen"]


def test_a_users_model_replaces_the_bundled_one_of_its_name(catalogue, userModels):
    makeModel(userModels / "cardiac-mr", modality="CT")
    assert names(catalogue) == BUNDLED
    assert catalogue.find("CARDIAC-MR").origin == "user"


def test_a_model_that_was_added_and_lies_in_the_users_folder_is_listed_once(catalogue, userModels):
    from BiPVLSegPanel.settings import Settings

    folder = makeModel(userModels / "abdomen")
    Settings().modelFolders = [str(folder), str(folder / ".." / "abdomen")]
    assert names(catalogue) == [*BUNDLED, "abdomen"]


def test_many_organs_are_counted_in_the_title(catalogue, userModels):
    makeModel(userModels / "body", classes=[f"organ number {n}" for n in range(30)])
    assert catalogue.find("body").title == "body (CT; 30 organs)"


def test_an_added_folder_is_kept_over_a_restart(catalogue, tmp_path):
    from BiPVLSegPanel.modelcatalogue import ModelCatalogue
    from BiPVLSegPanel.settings import Settings

    folder = makeModel(tmp_path / "Bär" / "liver-ct")
    added = catalogue.add(str(folder))
    assert (added.name, added.origin) == ("liver-ct", "added")
    later = ModelCatalogue(Settings()).find("liver-ct")
    assert later == added
    assert ModelCatalogue(Settings()).find(str(folder)) == added


def test_the_folder_of_a_training_run_adds_its_best_model(catalogue, tmp_path):
    makeModel(tmp_path / "run7" / "best")
    added = catalogue.add(str(tmp_path / "run7"))
    assert added.name == "run7"
    assert Path(added.folder) == tmp_path / "run7" / "best"


def test_added_models_of_one_name_can_be_told_apart(catalogue, tmp_path):
    first = catalogue.add(str(makeModel(tmp_path / "a" / "liver")))
    second = catalogue.add(str(makeModel(tmp_path / "b" / "liver")))
    third = catalogue.add(str(makeModel(tmp_path / "c" / "cardiac-mr")))
    assert [first.name, second.name, third.name] == ["liver", "liver (2)", "cardiac-mr (2)"]
    assert catalogue.find("liver (2)").folder == str(tmp_path / "b" / "liver")
    catalogue.remove(first)
    assert catalogue.find("liver") is None  # a scene that was saved with the first does not mean the second now
    assert catalogue.find("liver (2)").folder == str(tmp_path / "b" / "liver")


def test_the_name_of_a_model_does_not_depend_on_the_working_directory(catalogue, tmp_path, monkeypatch):
    catalogue.add(str(makeModel(tmp_path / "liver")))
    monkeypatch.chdir(tmp_path / "liver")
    assert catalogue.find("") is None
    assert catalogue.find("nothing-like-it") is None


@pytest.mark.parametrize(
    "case", ["absent", "empty", "no model", "not json", "other model", "newer", "no weights", "", "twice"]
)
def test_folders_that_are_no_usable_model_are_refused_with_a_sentence(catalogue, tmp_path, case):
    from BiPVLSegLib.errors import ModelError

    folder = tmp_path / "model"
    if case not in ("absent", ""):
        makeModel(folder)
    expected = {
        "absent": "no folder",
        "": "no folder",
        "empty": "config.json",
        "no model": "config.json",
        "not json": "cannot be read",
        "other model": "does not describe",
        "newer": "newer BiPVLSeg",
        "no weights": "model.safetensors",
        "twice": "already",
    }[case]
    if case == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif case == "no model":
        (folder / "config.json").unlink()
    elif case == "not json":
        (folder / "config.json").write_text("{")
    elif case == "other model":
        (folder / "config.json").write_text('{"model_type": "bert"}')
    elif case == "newer":
        (folder / "config.json").write_text('{"model_type": "bipvlseg", "format_version": 99}')
    elif case == "no weights":
        (folder / "model.safetensors").unlink()
    elif case == "twice":
        catalogue.add(str(folder))
    before = catalogue.entries()
    with pytest.raises(ModelError, match=expected):
        catalogue.add("" if case == "" else str(folder))
    assert catalogue.entries() == before


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        '"text"',
        "null",
        '{"model_type": "bipvlseg", "preprocessing": [1]}',
        '{"model_type": "bipvlseg", "classes": null}',
        '{"model_type": "bipvlseg", "classes": 3}',
        '{"model_type": "bipvlseg", "format_version": "two"}',
        "\ud800".encode("utf-16", "surrogatepass"),
    ],
)
def test_a_broken_model_says_so_and_hides_no_other(catalogue, userModels, config):
    broken = makeModel(userModels / "broken")
    makeModel(userModels / "whole")
    (broken / "config.json").write_bytes(config if isinstance(config, bytes) else config.encode())
    entry = catalogue.find("broken")
    assert entry.problem and str(broken) in entry.problem
    assert "cannot be used" in entry.title
    assert entry.problem in catalogue.cardText(entry)
    assert catalogue.find("whole").problem == catalogue.find("cardiac-mr").problem == ""


def test_half_copied_models_are_listed_with_what_is_missing(catalogue, userModels):
    (makeModel(userModels / "no-weights") / "model.safetensors").unlink()
    (makeModel(userModels / "no-config") / "config.json").unlink()
    assert "model.safetensors" in catalogue.find("no-weights").problem
    assert "config.json" in catalogue.find("no-config").problem


def test_a_model_of_several_channels_is_listed_with_what_to_do(catalogue, userModels):
    makeModel(userModels / "tumour", in_channels=4)
    assert "4 volumes at once" in catalogue.find("tumour").problem
    assert "command line" in catalogue.find("tumour").problem


def test_an_added_folder_that_is_gone_stays_in_the_list_until_removed(catalogue, tmp_path):
    folder = makeModel(tmp_path / "stick" / "liver")
    catalogue.add(str(folder))
    shutil.rmtree(tmp_path / "stick")
    entry = catalogue.find("liver")
    assert "is gone" in entry.problem
    catalogue.remove(entry)
    assert names(catalogue) == BUNDLED


def test_a_bundled_model_cannot_be_removed(catalogue):
    from BiPVLSegLib.errors import ModelError

    entry = catalogue.find("cardiac-mr")
    for method in (catalogue.describeRemoval, catalogue.remove):
        with pytest.raises(ModelError, match="belongs to BiPVLSeg"):
            method(entry)
    assert Path(entry.folder).is_dir()


def test_removing_an_added_folder_leaves_its_files(catalogue, tmp_path):
    folder = makeModel(tmp_path / "liver")
    other = catalogue.add(str(makeModel(tmp_path / "spleen")))
    entry = catalogue.add(str(folder))
    assert "Its files stay" in catalogue.describeRemoval(entry)
    assert "off the list" in catalogue.remove(entry)
    assert (folder / "model.safetensors").is_file()
    assert names(catalogue) == [*BUNDLED, other.name]


def test_removing_a_users_model_deletes_its_files_after_saying_so(catalogue, userModels):
    folder = makeModel(userModels / "abdomen")
    kept = makeModel(userModels / "kept")
    entry = catalogue.find("abdomen")
    question = catalogue.describeRemoval(entry)
    assert str(folder) in question and "cannot be undone" in question
    assert folder.is_dir()
    assert "deleted" in catalogue.remove(entry)
    assert not folder.exists() and kept.is_dir()
    assert names(catalogue) == [*BUNDLED, "kept"]


def test_a_linked_model_loses_its_link_and_not_its_files(catalogue, userModels, tmp_path):
    real = makeModel(tmp_path / "archive" / "liver")
    link = userModels / "liver"
    try:
        link.symlink_to(real, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")
    catalogue.remove(catalogue.find("liver"))
    assert not link.exists() and (real / "model.safetensors").is_file()


def test_files_outside_the_users_folder_are_never_deleted(catalogue, tmp_path):
    from BiPVLSegPanel.modelcatalogue import ModelEntry

    from BiPVLSegLib.errors import ModelError

    folder = makeModel(tmp_path / "elsewhere" / "liver")
    with pytest.raises(ModelError, match="yourself"):
        catalogue.remove(ModelEntry("liver", str(folder), "user"))
    assert folder.is_dir()


def test_the_model_card_is_the_models_own_text(catalogue, userModels):
    assert "ACDC" in catalogue.cardText(catalogue.find("cardiac-mr"))
    folder = makeModel(userModels / "abdomen")
    text = catalogue.cardText(catalogue.find("abdomen"))
    assert "no description" in text and "liver, spleen" in text and str(folder) in text
    (folder / "README.md").write_bytes("# Abdomen\nNür für Forschung\n".encode() + b"\xff")
    assert catalogue.cardText(catalogue.find("abdomen")).startswith("# Abdomen\nNür für Forschung")


def test_listing_models_does_not_import_torch(catalogue):
    import subprocess
    import sys

    code = (
        "import sys\nfrom BiPVLSegLib.model_store import model_summary, available_models\n"
        "[model_summary(f) for f in available_models().values()]\nprint('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
