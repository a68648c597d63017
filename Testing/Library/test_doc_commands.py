"""Every command of README and docs is one that the command line takes, with settings that exist; every link leads somewhere."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from BiPVLSegLib.cli.main import build_parser
from BiPVLSegLib.data.presets import get_preset
from BiPVLSegLib.training.settings import RunSettings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "Resources" / "Models").glob("*/README.md")]
)
COMMAND = re.compile(r"(?:python|torchrun [^;&]*?) -m (BiPVLSegLib\S*) ([^;&|`]*)")


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """(module, arguments) of each command in the page's code; lines with "..." or shell variables are sketches."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    code = re.findall(r"```bash\n(.*?)```", text, re.DOTALL) + re.findall(r"`(python -m [^`\n]+)`", text)
    code += re.findall(r"(?m)^    (python -m .*)$", text)
    found = [match for block in code for line in block.splitlines() for match in COMMAND.findall(line)]
    return [
        (module, shlex.split(rest, comments=True)) for module, rest in found if "..." not in rest and "$" not in rest
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_accepted(page: Path):
    for module, arguments in commands(page):
        if module != "BiPVLSegLib":
            parser = getattr(importlib.import_module(module), "build_parser", None)
            if parser is not None:
                parser().parse_args(arguments)
            continue
        if arguments and arguments[0].isupper():  # a placeholder for any command
            continue
        options = build_parser().parse_args(arguments)
        if options.command == "train":
            RunSettings.from_preset(get_preset(options.preset), options.overrides)


def test_there_are_commands_to_check():
    assert sum(len(commands(page)) for page in PAGES) > 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_names_of_files_lead_somewhere(page: Path):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://|mailto:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            lines = re.findall(r"(?m)^#+ (.+)$", linked.read_text(encoding="utf-8"))
            headings = {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}
            assert anchor in headings, f"{page.name} links to {target}; there are {sorted(headings)}"
    for name in re.findall(r"`((?:BiPVLSegLib|Resources|Testing|BiPVLSeg|docs)/[\w./-]+)`", text):
        if "NAME" not in name:
            assert (ROOT / name).exists(), f"{page.name} names {name}"
