"""What the repository promises about itself: its commands, its packages, its size."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_ci_calls_the_test_command_of_the_readme():
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    commands = [line for line in readme.splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2 and "demo" in commands[0] and "nox" in commands[1]
    assert commands[1] in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_test_command_installs_all_tools_in_the_tested_versions():
    wanted = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*wanted["dependencies"], *wanted["optional-dependencies"]["test"]]
    names = {re.split(r"[<>=]", line)[0].lower() for line in lines}
    pinned = re.findall(r"(?m)^([\w-]+)==", (REPOSITORY / "constraints.txt").read_text(encoding="utf-8"))
    assert names <= {name.lower() for name in pinned}
    assert {"nox", "pytest", "ruff", "mypy"} <= names


def test_the_forge_and_contributors_run_every_session():
    sessions = set(re.findall(r"(?m)^def (\w+)\(session", (REPOSITORY / "noxfile.py").read_text(encoding="utf-8")))
    contributing = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert sessions == set(re.findall(r"-m nox -s (\w+)", contributing))
    workflow = (REPOSITORY / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    assert sessions == set(re.findall(r"python -m nox -s \"?(\w+)", workflow)) == {"lint", "library", "slicer"}


def test_every_package_is_installed():
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    on_disk = {
        ".".join(path.parent.relative_to(REPOSITORY).parts)
        for path in (REPOSITORY / "BiPVLSegLib").rglob("__init__.py")
    }
    assert set(settings["packages"]) == on_disk | {"BiPVLSegLib.Resources"}


def test_bundled_weights_stay_small():
    weights = sum(path.stat().st_size for path in (REPOSITORY / "Resources").rglob("*.safetensors"))
    assert 0 < weights < 60e6
    assert not list((REPOSITORY / "Resources").rglob("*.bin")) and not list((REPOSITORY / "Resources").rglob("*.pt"))


def test_every_bundled_model_has_a_card_with_its_data_and_terms():
    for folder in (REPOSITORY / "Resources" / "Models").iterdir():
        card = (folder / "README.md").read_text(encoding="utf-8")
        for word in ("terms of the data", "split", "seed", "hardware", "Dice"):
            assert word in card, f"{folder.name}: {word}"


def test_links_and_names_of_files_in_the_pages_for_contributors_lead_somewhere():
    for page in ("CONTRIBUTING.md", "CHANGELOG.md"):
        text = (REPOSITORY / page).read_text(encoding="utf-8")
        links = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
        names = re.findall(r"`((?:BiPVLSegLib|Resources|Testing|BiPVLSeg|docs)/[\w./-]+)`", text)
        assert [name for name in (*links, *names) if not (REPOSITORY / name).exists()] == [], page
