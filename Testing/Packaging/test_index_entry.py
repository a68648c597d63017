"""The catalogue entry and what the Extensions Index checks before it takes an extension, as far as that needs no network."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from slicer_tree import REPOSITORY

pytest_plugins = ["tree_fixture"]

ENTRY = REPOSITORY / "BiPVLSeg.json"
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#"
)
# The schema: type of each field; no other field is allowed.
TYPES = {
    "$schema": str,
    "build_dependencies": list,
    "build_subdirectory": str,
    "category": str,
    "dicom_support_rule": str,
    "enabled": bool,
    "scm_revision": str,
    "scm_type": str,
    "scm_url": str,
    "tier": int,
}
REQUIRED = {"$schema", "category", "scm_url"}
MOST_BYTES = 100_000_000  # of a clone: files and history
ANEW = ("--no-reuse-delta", "--no-use-bitmap-index")
GITS_OWN = 400_000  # what git keeps beside the pack, and the folders


@pytest.fixture(scope="module")
def entry() -> dict:
    return json.loads(ENTRY.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def cmake_text() -> str:
    return (REPOSITORY / "CMakeLists.txt").read_text(encoding="utf-8")


def addresses(cmake_text: str, variable: str) -> list[str]:
    """Found as the Index does it: in the text, not by CMake."""
    found = re.search(rf'set\s*\({variable}\s*"([^"]+)" *\)', cmake_text, re.IGNORECASE)
    assert found, f"{variable} is not set in one line"
    return found[1].split()


def file_behind(address: str, entry: dict) -> Path:
    """The file of this repository that a raw address of the catalogue's repository and branch leads to."""
    prefix = entry["scm_url"].replace("https://github.com/", "https://raw.githubusercontent.com/")
    prefix = f"{prefix}/{entry['scm_revision']}/"
    assert address.startswith(prefix), f"{address} does not begin with {prefix}"
    return REPOSITORY / address.removeprefix(prefix)


def png_size(path: Path) -> tuple[int, int]:
    start = path.read_bytes()[:24]
    assert start[:8] == b"\x89PNG\r\n\x1a\n" and start[12:16] == b"IHDR", f"{path.name} is no PNG"
    return struct.unpack(">II", start[16:24])


def picture_size(path: Path) -> tuple[int, int]:
    """Of a PNG or a WebP with losses: what the browser in Slicer's Extensions Manager shows."""
    start = path.read_bytes()[:30]
    if start[8:16] == b"WEBPVP8 ":
        width, height = struct.unpack("<HH", start[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return png_size(path)


def test_the_entry_keeps_to_the_schema(entry):
    assert set(entry) >= REQUIRED and set(entry) <= set(TYPES)
    for name, value in entry.items():
        assert type(value) is TYPES[name], name
    assert entry["$schema"] == SCHEMA
    assert all(type(name) is str and name for name in entry["build_dependencies"])
    assert 1 <= entry.get("tier", 1) <= 5
    assert entry.get("scm_type", "git") in ("git", "local")


def test_the_entry_has_the_form_of_the_others(entry):
    """Sorted names, two spaces, lines that end as on Unix."""
    text = ENTRY.read_bytes().decode("ascii")
    assert list(entry) == sorted(entry)
    assert "\r" not in text and "\t" not in text and text.endswith("}\n") and not text.endswith("\n\n")
    assert all(re.fullmatch(r'[{}]|  "[$\w]+": .+', line) for line in text.splitlines())


def test_names_agree(entry, cmake_text, tree):
    assert re.findall(r"project\s*\(\s*([^\s)]+)", cmake_text, re.IGNORECASE)[0] == ENTRY.stem
    assert tree.description["NAME"] == ENTRY.stem and not ENTRY.stem.startswith("Slicer")
    assert urlsplit(entry["scm_url"]).scheme in ("https", "git")
    assert urlsplit(entry["scm_url"]).path.split("/")[-1] == f"Slicer{ENTRY.stem}"
    assert tree.description["HOMEPAGE"] == entry["scm_url"]


def test_the_category_is_the_modules(entry, tree):
    """And one that the Index has. Category and tier are said in the entry alone."""
    module = (REPOSITORY / "BiPVLSeg" / "BiPVLSeg.py").read_text(encoding="utf-8")
    assert entry["category"] == "Segmentation"
    assert f'parent.categories = [translate("qSlicerAbstractCoreModule", "{entry["category"]}")]' in module
    assert not {"CATEGORY", "TIER"} & set(tree.description)


def test_dependencies_agree(entry, tree):
    assert tree.description["DEPENDS"].split() == entry["build_dependencies"] == ["PyTorch"]


def test_the_icon(entry, cmake_text, tree):
    assert addresses(cmake_text, "EXTENSION_ICONURL") == [tree.description["ICONURL"]]
    icon = file_behind(tree.description["ICONURL"], entry)
    assert png_size(icon) == (128, 128)


def test_the_screenshots(entry, cmake_text, tree):
    pictures = addresses(cmake_text, "EXTENSION_SCREENSHOTURLS")
    assert pictures == tree.description["SCREENSHOTURLS"].split() and pictures
    for address in pictures:
        width, height = picture_size(file_behind(address, entry))
        assert width >= 400 and height >= 300, address


def test_the_description_says_what_it_is_and_what_it_may_be_used_for(tree):
    description = tree.description["DESCRIPTION"]
    for words in ("text-guided segmentation", "ct and mr", "not for clinical use", "apache-2.0", "non-commercial"):
        assert words in description.lower(), words
    assert {"segmentation", "text-guided", "vision-language"} <= set(tree.description["KEYWORDS"].split())
    assert tree.description["CONTRIBUTORS"]


def test_the_licence_lies_where_the_index_looks():
    assert "Apache License" in (REPOSITORY / "LICENSE.txt").read_text(encoding="utf-8")[:300]


def test_a_clone_stays_small():
    """What a clone takes: the files, and the whole history in one pack as git makes it anew. A server does so when it tidies up;
    until then a file that is stored as a difference may lie there whole."""
    git = shutil.which("git")
    if git is None or not (REPOSITORY / ".git").exists():
        pytest.skip("no git checkout")

    def ask(*arguments: str, text: bytes = b"") -> bytes:
        done = subprocess.run([git, *arguments], cwd=REPOSITORY, capture_output=True, input=text)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    history = len(ask("pack-objects", "--revs", "--stdout", "-q", *ANEW, text=b"HEAD\n"))
    sizes = [line.split(maxsplit=4)[3] for line in ask("ls-tree", "-r", "-l", "HEAD").decode().splitlines()]
    files = sum(int(size) for size in sizes if size.isdigit())
    assert history + files + GITS_OWN < MOST_BYTES, f"{history:,} bytes of history and {files:,} of files"
