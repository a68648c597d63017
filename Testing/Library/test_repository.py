"""What the repository promises about itself: its commands, its packages, its size."""

from __future__ import annotations

import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_ci_calls_the_test_command_of_the_readme():
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    commands = [line for line in readme.splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2 and "demo" in commands[0] and "nox" in commands[1]
    assert commands[1] in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").splitlines()


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
