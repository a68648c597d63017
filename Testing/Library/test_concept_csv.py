"""What a user relies on in tables of concepts: any spreadsheet's CSV is read, and what is wrong is named by row and column."""

from __future__ import annotations

import csv
import errno
import os

import pytest
from tiny_concepts import KIDNEY, a_set

from BiPVLSegLib.concepts import (
    Code,
    Concept,
    ConceptSet,
    Terminology,
    name_from_title,
    read_csv,
    write_csv,
)
from BiPVLSegLib.errors import ConceptError, OutputError

HEADER = "Title,Shape,Location,Appearance/Density,Contour/Symmetry,Internal Texture"
SPLEEN = "Spleen in an abdominal CT image,Wedge,Left,Grey,Smooth,Even"


def write(path, text: str | bytes):
    path.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
    return path


# --------------------------------------------------------------------------------------------------- CSV, reading


def test_the_columns_of_the_paper_are_enough(tmp_path):
    path = write(tmp_path / "abdomen.csv", f"{HEADER}\n{SPLEEN}\n")
    concepts = read_csv(path)
    assert concepts.name == "abdomen" and concepts.names == ("Spleen",)
    concept = concepts.concepts[0]
    assert concept.texts == ("Spleen in an abdominal CT image", "Wedge", "Left", "Grey", "Smooth", "Even")
    assert concept.enabled and concept.color is None and concept.label is None and concept.terminology is None


def test_optional_columns_in_any_order_and_case_and_unknown_ones(tmp_path):
    path = write(
        tmp_path / "t.csv",
        "\ufeff label , COLOR,Remark,internal texture,contour/symmetry,appearance/density,"
        "location,shape,title,name,enabled,terminology\n"
        "7,#FF8000,ignore me,Even,Smooth,Grey,Left,Wedge,Spleen in a CT image,Milz,No,"
        "SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~SCT^7771000^Left\n",
    )
    texts = ("Spleen in a CT image", "Wedge", "Left", "Grey", "Smooth", "Even")
    assert read_csv(path).concepts == (Concept("Milz", *texts, (255, 128, 0), KIDNEY, False, 7),)


def test_tables_of_spreadsheets_in_other_countries_are_read(tmp_path):
    header = HEADER.replace(",", ";")
    path = write(tmp_path / "t.csv", header + '\r\nA in a CT image;"B; b";C, c;D;E;F;;\r\n;;;;;\r\n\r\n')
    assert read_csv(path).concepts[0].texts == ("A in a CT image", "B; b", "C, c", "D", "E", "F")


@pytest.mark.parametrize("nothing", ["-", " – ", "n/a", "NaN", "...", "None"])
def test_what_people_write_into_cells_without_a_text_is_no_text(tmp_path, nothing):
    path = write(tmp_path / "t.csv", f"{HEADER}\nSpleen,{nothing},Left,{nothing},,No edge: see 3\n")
    assert read_csv(path).concepts[0].texts == ("Spleen", "", "Left", "", "", "No edge: see 3")


@pytest.mark.parametrize("line", ["sep=;\r\n", '"sep=;"\n', "\ufeffSEP=;\r"])
def test_a_line_that_tells_spreadsheets_the_separator_is_no_header(tmp_path, line):
    """Spreadsheets do not show it: the header is their row 1."""
    text = line + HEADER.replace(",", ";") + "\nA, B in a CT image;B;C;D;E;F\nA;;;;;;;;#123\n"
    with pytest.raises(ConceptError, match="row 3"):
        read_csv(write(tmp_path / "t.csv", text))
    assert read_csv(write(tmp_path / "u.csv", text.rsplit("A;", 1)[0])).concepts[0].title == "A, B in a CT image"
    with pytest.raises(ConceptError, match="lacks the columns Title"):
        read_csv(write(tmp_path / "v.csv", line))


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Left ventricle in a cardiac cine MR image", "Left ventricle"),
        ("Spleen IN AN abdominal CT Image.", "Spleen"),
        ("Thrombus in a vein in a CT image", "Thrombus in a vein"),
        ("Spleen", "Spleen"),
        ("Stent in a vessel", "Stent in a vessel"),
    ],
)
def test_the_name_comes_from_the_title(title, name):
    assert name_from_title(title) == name


COLUMNS = HEADER + ",Name,Color,Terminology,Enabled,Label"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{COLUMNS}\n{SPLEEN},,red", "row 2, column Color: 'red'"),
        (f"{COLUMNS}\n{SPLEEN},,#12345", "row 2, column Color"),
        (f"{COLUMNS}\n\n{SPLEEN},,,,maybe", "row 3, column Enabled: 'maybe'"),
        (f"{COLUMNS}\n{SPLEEN},,,SCT^64033007^Kidney", "row 2, column Terminology: 'SCT.64033007.Kidney'"),
        (f"{COLUMNS}\n{SPLEEN},,,,,zero", "row 2, column Label: 'zero'"),
        (f"{COLUMNS}\n{SPLEEN},,,,,0", "row 2, column Label: '0'"),
        (f"{COLUMNS}\n{SPLEEN},,,,,1\n{SPLEEN},x,,,,1", "row 3, column Label: '1' is already used in row 2"),
        (f'{COLUMNS}\n"A in a CT image","two\nlines"\n{SPLEEN}\n\n{SPLEEN}', "row 5, column Name: 'Spleen'.*row 3"),
        (f"{COLUMNS}\n,,,,,,Liver,,,,1", "row 2, column Title: the row has no text"),
        (f"{COLUMNS}\n,Round", "row 2, column Title: the cell is empty"),
        (f"{HEADER}\n{SPLEEN}\n{SPLEEN}, shiny", "7 cells in row 3 where the header has 6.*'shiny'"),
        (f"{HEADER},title\n{SPLEEN}", "row 1, column Title: the header has this column twice"),
        (f'{HEADER}\n{SPLEEN}\n"Liver in a CT image,Wedge', "row 3.*quotation mark"),
        (f'{HEADER}\n"Liver" in a CT image,Wedge', "row 2.*quotation mark"),
        (f'"{HEADER}\n{SPLEEN}', "row 1.*quotation mark"),
        (
            "Title,Shape,Location\nA in a CT image,B,C",
            r"lacks the columns Appearance/Density, Contour/Symmetry, Internal Texture in its header \(row 1\)",
        ),
        (HEADER.replace(",Shape", "") + "\nx", "lacks the column Shape in"),
        (f"{HEADER}\n{SPLEEN}\n" + "A" * 140_000, "more than 131,072 characters in row 3"),
        (f"{COLUMNS}\n{SPLEEN},\u200b", "row 2, column Name: A concept has no name"),
        (f"{HEADER}\n\u200b,a", "row 2, column Title: A concept has no name"),
        (HEADER, "no rows"),
        (f"{HEADER}\n,,,,,\n\n", "no rows"),
        ("", "is empty"),
        (" \r\n,,\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (f"{HEADER}\n{SPLEEN}\n".encode() + "Lunge links überall".encode("latin-1"), r"not UTF-8 text \(row 3\)"),
        (f"{HEADER}\n{SPLEEN}".encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04\x14\x00\x06\x00", "binary"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "binary"),
    ],
)
def test_a_wrong_table_is_refused_with_file_row_and_column(tmp_path, text, words):
    path = write(tmp_path / "wrong table.csv", text)
    with pytest.raises(ConceptError, match=words) as caught:
        read_csv(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ConceptError, match="no concept table .*nothing.csv"):
        read_csv(tmp_path / "nothing.csv")
    with pytest.raises(ConceptError, match="cannot be read"):
        read_csv(tmp_path)


# --------------------------------------------------------------------------------------------------- CSV, writing


def test_csv_round_trip_of_difficult_texts(tmp_path):
    concepts = ConceptSet(
        "Grüße und 心 x",
        (
            Concept(
                "a, b; c",
                'He said "round, or so"',
                "one\ntwo\r\nthree\rfour",
                "心脏左心室",
                "🫀 = \t tab",
                "'",
                '"',
                (0, 16, 255),
                KIDNEY,
                False,
                12,
            ),
            Concept("only a shape", "", shape="=1+1"),
            Concept("b", "B"),
        ),
    )
    path = tmp_path / "Grüße und 心 x.csv"
    write_csv(concepts, path)
    assert read_csv(path) == concepts
    with open(path, encoding="utf-8", newline="") as file:
        assert ",".join(next(csv.reader(file))[:6]) == HEADER
    write_csv(a_set("other"), path)
    assert read_csv(path).names == ("other",) and os.listdir(tmp_path) == [path.name]


def test_an_unwritable_place_is_a_sentence(tmp_path):
    blocked = write(tmp_path / "file", "x") / "table.csv"
    with pytest.raises(OutputError, match=r"table\.csv' cannot be written"):
        write_csv(a_set("a"), blocked)
    with pytest.raises(OutputError, match="cannot be written"):
        write_csv(a_set("a"), tmp_path / "no such folder" / "table.csv")
    kidney = Code.parse("SCT^64033007^Kidney \ud800")
    broken = Terminology(kidney, kidney)
    with pytest.raises(OutputError, match="broken character"):
        write_csv(ConceptSet("mine", (Concept("a", "a", terminology=broken),)), tmp_path / "table.csv")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_table(tmp_path, monkeypatch, step):
    path = tmp_path / "table.csv"
    write_csv(a_set("old"), path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OutputError, match="the disk is full"):
        write_csv(a_set("new"), path)
    assert read_csv(path).names == ("old",) and os.listdir(tmp_path) == ["table.csv"]
