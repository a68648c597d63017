"""What CMake installs: every file that is needed, no other; and it runs where the sources are out of reach."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from slicer_tree import REPOSITORY, SOURCES, SlicerTree, install_extension

pytest_plugins = ["tree_fixture"]

# Whatever is in the folders of the module, the library and the resources is installed, or named here with the reason.
NOT_INSTALLED = {
    "BiPVLSegLib/comparison/*": "compares trained networks",
    "BiPVLSegLib/data/ct_*.py": "generated bodies, for training",
    "BiPVLSegLib/data/datalist.py": "training and evaluation",
    "BiPVLSegLib/data/dataset.py": "training and evaluation",
    "BiPVLSegLib/data/phantom_dataset.py": "for trying out training",
    "BiPVLSegLib/data/rows.py": "training",
    "BiPVLSegLib/data/synthesis.py": "training",
    "BiPVLSegLib/data/transforms.py": "training",
    "BiPVLSegLib/data/unions.py": "training and evaluation",
    "BiPVLSegLib/data/wording_files.py": "training and evaluation",
    "BiPVLSegLib/data/wordings.py": "training and evaluation",
    "BiPVLSegLib/evaluation/evaluate.py": "evaluation of data sets",
    "BiPVLSegLib/evaluation/labelled_cases.py": "evaluation of data sets",
    "BiPVLSegLib/evaluation/probes.py": "evaluation of data sets",
    "BiPVLSegLib/evaluation/report.py": "evaluation of data sets",
    "BiPVLSegLib/evaluation/text_fidelity.py": "evaluation of data sets",
    "BiPVLSegLib/losses/*": "training",
    "BiPVLSegLib/tools/*": "for maintainers",
    "BiPVLSegLib/training/*": "training",
    "Resources/Evaluation/*": "evaluation of data sets",
    "Resources/Screenshots/*": "for pages about the extension",
    "Resources/Wordings/*": "training and evaluation",
    "BiPVLSegLib/py.typed": "for type checkers",
}


def files_on_disk() -> list[str]:
    """Below the repository, without what belongs to CMake, or is put there by Python, tools and file managers."""
    found = [path.relative_to(REPOSITORY) for folder in SOURCES for path in folder.rglob("*") if path.is_file()]
    return sorted(
        path.as_posix()
        for path in found
        if path.name != "CMakeLists.txt" and not any(part.startswith((".", "__pycache__")) for part in path.parts)
    )


def place_in_slicer(file: str) -> str:
    """Where under qt-scripted-modules a file of the repository has to be."""
    return f"BiPVLSegLib/{file}" if file.startswith("Resources/") else file.removeprefix("BiPVLSeg/")


def is_left_out(file: str) -> bool:
    return any(fnmatch(file, pattern) for pattern in NOT_INSTALLED)


def run_installed(tree: SlicerTree, code: str, folder: Path) -> subprocess.CompletedProcess:
    environment = tree.environment(BIPVLSEG_MODELS=str(folder / "models"))
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8"
    )


def test_each_file_is_installed_unchanged_or_known_not_to_be_needed(tree):
    wanted = {place_in_slicer(file): file for file in files_on_disk() if not is_left_out(file)}
    installed = {path.relative_to(tree.modules).as_posix() for path in tree.modules.rglob("*") if path.is_file()}
    assert sorted(set(wanted) - installed) == [], "forgotten in a CMakeLists.txt (or in NOT_INSTALLED)"
    assert sorted(installed - set(wanted)) == [], "installed, but not meant to be"
    for place, file in wanted.items():
        assert (tree.modules / place).read_bytes() == (REPOSITORY / file).read_bytes(), file


def test_what_is_known_not_to_be_needed_exists():
    single = {file for file in NOT_INSTALLED if "*" not in file}
    assert sorted(single - set(files_on_disk())) == []


def test_a_listed_file_that_does_not_exist_stops_the_build(tmp_path):
    """The stand-in is as strict as Slicer's macros."""
    sources = tmp_path / "sources"
    shutil.copytree(REPOSITORY / "BiPVLSegLib", sources / "BiPVLSegLib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("CMakeLists.txt", "LICENSE.txt", "README.md"):
        shutil.copy(REPOSITORY / name, sources)
    (sources / "BiPVLSegLib" / "paths.py").unlink()
    with pytest.raises(AssertionError, match=r"does not\s+exist:\s+paths.py"):
        install_extension(tmp_path, sources)


def test_licence_and_readme_are_ours(tree):
    assert Path(tree.description["LICENSE_FILE"]) == REPOSITORY / "LICENSE.txt"
    assert Path(tree.description["README_FILE"]) == REPOSITORY / "README.md"


def test_tests_for_a_real_slicer_are_registered(tree):
    assert tree.tests == ["py_nomainwindow_qSlicerBiPVLSegModuleGenericTest", "py_BiPVLSeg"]


SEGMENT = """
import importlib, json, pkgutil, sys
import BiPVLSegLib
for module in pkgutil.walk_packages(BiPVLSegLib.__path__, "BiPVLSegLib.", onerror=print):
    if not module.name.startswith(("BiPVLSegLib.slicer", "BiPVLSegLib.__main__")):  # need Slicer; is a program
        importlib.import_module(module.name)
from BiPVLSegLib.cli import main
from BiPVLSegLib.concepts import bundled_concept_sets
from BiPVLSegLib.model_store import available_models
code = main(["demo", "-o", "demo", "--device", "cpu"])
files = [m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] == "BiPVLSegLib" and m.__file__]
print(json.dumps({"code": code, "files": files, "sets": list(bundled_concept_sets()), "models": list(available_models())}))
"""


def test_all_modules_can_be_imported_and_a_heart_is_segmented(tree, tmp_path):
    done = run_installed(tree, SEGMENT, tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["code"] == 0, done.stderr
    assert len(answer["files"]) > 50 and all(Path(file).is_relative_to(tree.modules) for file in answer["files"])
    assert sorted(answer["sets"]) == sorted(path.stem for path in (REPOSITORY / "Resources" / "Concepts").glob("*.csv"))
    assert answer["models"] == sorted(
        path.name for path in (REPOSITORY / "Resources" / "Models").iterdir() if path.is_dir()
    )
    table = done.stdout.partition("Dice against the known truth:\n")[2].splitlines()[:3]
    assert [line[:32].strip() for line in table] == ["right ventricle", "left ventricular myocardium", "left ventricle"]
    assert all(float(line.split()[-1]) > 0.9 for line in table), table
    assert (tmp_path / "demo" / "phantom.seg.nrrd").is_file()


@pytest.mark.parametrize(
    "command",
    [
        ["train", "--data", "dataset.json", "--preset", "acdc", "-o", "model"],
        ["evaluate", "--data", "dataset.json", "-o", "report"],
        ["phantoms", "hearts"],
    ],
    ids=lambda command: command[0],
)
def test_commands_that_are_not_part_of_the_extension_say_where_they_are(tree, tmp_path, command):
    done = run_installed(tree, f"import sys; from BiPVLSegLib.cli import main; sys.exit(main({command!r}))", tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert "no code for training" in done.stderr and "pip install" in done.stderr and "repository" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_guard_keeps_the_sources_out_of_reach(tree, tmp_path):
    """Or the tests above could pass on files that were not installed."""
    for code in (f"open({str(REPOSITORY / 'BiPVLSegLib' / 'paths.py')!r})", "import BiPVLSegLib.losses"):
        done = run_installed(tree, code, tmp_path)
        assert done.returncode == 1 and ("out of reach" in done.stderr or "No module named" in done.stderr), done.stderr
