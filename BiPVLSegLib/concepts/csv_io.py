"""Concept tables as CSV files, with the columns of the paper's own tables and a few optional ones."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConceptError, OutputError
from ..io.writing import atomic_path
from .concept import Concept, fold_name
from .concept_set import ConceptSet
from .terminology import Terminology

TEXT_COLUMNS = {
    "Title": "title",
    "Shape": "shape",
    "Location": "location",
    "Appearance/Density": "appearance",
    "Contour/Symmetry": "contour",
    "Internal Texture": "texture",
}
OPTIONAL_COLUMNS = ("Name", "Color", "Terminology", "Enabled", "Label")

_TITLE = re.compile(r"(?P<name>.+)\s+in\s+an?\s+.+?\s+image\W*", re.IGNORECASE | re.DOTALL)
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_LABEL = re.compile(r"\d{1,9}", re.ASCII)
_TRUE, _FALSE = {"", "yes", "true", "1", "on"}, {"no", "false", "0", "off"}
_NO_TEXT = {"-", "--", "–", "—", ".", "...", "…", "n/a", "#n/a", "na", "nan", "null", "none"}
_DELIMITERS = ",;\t"  # spreadsheets write semicolons where the comma is the decimal mark
_SEPARATOR = re.compile(r'\s*"?sep=([,;\t])"?[ \t]*(?:\r\n|\r|\n)', re.IGNORECASE)
_SAVE_AS = "save the table as 'CSV UTF-8'"

Row = tuple[int, list[str]]  # number as a spreadsheet shows it (the header is row 1), cells


def name_from_title(title: str) -> str:
    """ "Left kidney in an abdominal CT image" -> "Left kidney"; a title of another form is its own name."""
    match = _TITLE.fullmatch(title.strip())
    return match["name"].strip() if match else title.strip()


def read_csv(path: str | os.PathLike[str]) -> ConceptSet:
    """Reads a concept table; its set is named after the file. See TEXT_COLUMNS and OPTIONAL_COLUMNS.

    UTF-8 with or without byte order mark, separated by commas, semicolons or tabs (the header row decides). Column
    names match in any case; columns that are not known are ignored. Rows without any content are skipped. The name is
    taken from the title, "X in a Y image", where the Name column is missing or empty.

    Raises
    ------
    ConceptError
        The file is missing or no such table; the sentence names file, row (the header is row 1) and column.
    """
    path = Path(path)
    text = _read_text(path)
    rows, columns = _rows_and_columns(path, text)
    concepts: list[Concept] = []
    seen: dict[tuple[str, object], int] = {}
    for number, cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        concept = _concept(path, number, cells, columns)
        for column, key in (("Name", fold_name(concept.name)), ("Label", concept.label)):
            earlier = seen.setdefault((column, key), number)
            if key is not None and earlier != number:
                what = concept.name if column == "Name" else concept.label
                raise _error(path, number, column, f"'{what}' is already used in row {earlier}; give each its own")
        concepts.append(concept)
    if not concepts:
        raise ConceptError(f"The concept table {path} has no rows below its header; add at least one.")
    return ConceptSet(path.stem, tuple(concepts))


def write_csv(concept_set: ConceptSet, path: str | os.PathLike[str]) -> None:
    """Writes a table that ``read_csv`` reads back with equal concepts; an existing file is replaced in one step.

    The set's modality, description and ``nested`` have no place in the paper's form and are not written.

    Raises
    ------
    OutputError
        The file cannot be written; what was there before is untouched.
    """
    path = Path(path)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow((*TEXT_COLUMNS, *OPTIONAL_COLUMNS))
    for concept in concept_set:
        color = "" if concept.color is None else "#{:02x}{:02x}{:02x}".format(*concept.color)
        terminology = "" if concept.terminology is None else concept.terminology.to_short()
        enabled = "yes" if concept.enabled else "no"
        label = "" if concept.label is None else str(concept.label)
        writer.writerow((*concept.texts, concept.name, color, terminology, enabled, label))
    try:
        data = buffer.getvalue().encode("utf-8")
    except UnicodeEncodeError as error:
        raise OutputError(f"{path} was not written: a text contains a broken character; type it in again.") from error
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ConceptError(f"There is no concept table {path}; check the name.") from error
    except OSError as error:
        raise ConceptError(f"The concept table {path} cannot be read: {error.strerror or error}.") from error
    if not data.removeprefix(codecs.BOM_UTF8).strip(b' \t\r\n,;"'):
        raise ConceptError(f"The concept table {path} is empty; it needs a header row and at least one row below.")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ConceptError(f"The concept table {path} is UTF-16 text, not UTF-8; {_SAVE_AS}.")
    if b"\0" in data or data.startswith(b"PK\x03\x04"):
        raise ConceptError(f"The concept table {path} is a binary file, not CSV text; open it and {_SAVE_AS}.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = len(list(csv.reader(io.StringIO(data[: error.start].decode("utf-8-sig") + "?", newline=""))))
        raise ConceptError(f"The concept table {path} is not UTF-8 text (row {row}); {_SAVE_AS}.") from error


def _records(path: Path, text: str, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 0
    try:
        for number, cells in enumerate(reader, start=1):
            yield number, cells
    except csv.Error as error:
        if "field limit" in str(error):
            raise ConceptError(
                f"The concept table {path} has a cell of more than {csv.field_size_limit():,} characters in row {number + 1}; "
                "shorten it, or close its quotation mark."
            ) from error
        raise ConceptError(
            f"The concept table {path} cannot be read in row {number + 1} ({error}): a quotation mark is not closed or "
            'not doubled; put the text in "..." and write each quotation mark inside it twice.'
        ) from error


def _rows_and_columns(path: Path, text: str) -> tuple[Iterator[Row], dict[str, int]]:
    """The rows below the header, and where each known column is, by its proper name."""
    chosen = _SEPARATOR.match(text)  # a line for spreadsheets, which do not show it
    text = text[chosen.end() :] if chosen else text
    header_line = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = chosen[1] if chosen else max(_DELIMITERS, key=header_line.count)
    records = _records(path, text, delimiter)
    content = ((number, cells) for number, cells in records if any(cell.strip() for cell in cells))
    number, header = next(content, (1, []))
    known = {fold_name(column): column for column in (*TEXT_COLUMNS, *OPTIONAL_COLUMNS)}
    columns: dict[str, int] = {}
    for index, cell in enumerate(header):
        column = known.get(fold_name(cell))
        if column is None:
            continue
        if column in columns:
            raise _error(path, number, column, "the header has this column twice; remove one")
        columns[column] = index
    missing = [column for column in TEXT_COLUMNS if column not in columns]
    if missing:
        raise ConceptError(
            f"The concept table {path} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)} in its "
            f"header (row {number}); it must have: {', '.join(TEXT_COLUMNS)}."
        )
    return _checked_width(path, records, len(header)), columns


def _checked_width(path: Path, records: Iterator[Row], width: int) -> Iterator[Row]:
    for number, cells in records:
        if any(cell.strip() for cell in cells[width:]):
            raise ConceptError(
                f"The concept table {path} has {len(cells)} cells in row {number} where the header has {width} "
                f"(from column {width + 1} on: '{cells[width].strip()}'); put texts that contain commas in quotation "
                "marks."
            )
        yield number, cells


def _concept(path: Path, number: int, cells: list[str], columns: dict[str, int]) -> Concept:
    def cell(column: str) -> str:
        index = columns.get(column, len(cells))
        return cells[index].strip() if index < len(cells) else ""

    texts = {field: _text(cell(column)) for column, field in TEXT_COLUMNS.items()}
    if not any(texts.values()):
        raise _error(path, number, "Title", "the row has no text at all; fill in the title and the five concepts")
    name = cell("Name") or name_from_title(texts["title"])
    if not name:
        raise _error(path, number, "Title", "the cell is empty; write a title such as 'Spleen in a CT image'")

    color = cell("Color")
    if color and not _COLOR.fullmatch(color):
        raise _error(path, number, "Color", f"'{color}' is not a colour; write #rrggbb, for example #b55539")
    enabled = cell("Enabled").casefold()
    if enabled not in _TRUE | _FALSE:
        raise _error(path, number, "Enabled", f"'{cell('Enabled')}' is neither yes nor no")
    label = cell("Label")
    if label and not (_LABEL.fullmatch(label) and int(label) > 0):
        raise _error(path, number, "Label", f"'{label}' is not a whole number of 1 or more")
    try:
        terminology = Terminology.parse(cell("Terminology"))
    except ConceptError as error:
        raise _error(path, number, "Terminology", str(error).rstrip(".")) from error

    try:
        return Concept(
            name=name,
            color=(int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)) if color else None,
            terminology=terminology,
            enabled=enabled in _TRUE,
            label=int(label) if label else None,
            **texts,
        )
    except ConceptError as error:
        raise _error(path, number, "Name" if cell("Name") else "Title", str(error).rstrip(".")) from error


def _text(cell: str) -> str:
    """The text of a cell; none where it says that there is none."""
    return "" if cell.casefold() in _NO_TEXT else cell


def _error(path: Path, number: int, column: str, what: str) -> ConceptError:
    return ConceptError(f"The concept table {path} is wrong in row {number}, column {column}: {what}.")
