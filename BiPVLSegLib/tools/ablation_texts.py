"""Makes the concept tables of the paper's ablation of text quality from one of ours.

    python -m BiPVLSegLib.tools.ablation_texts abdomen-ct names-only -o names-only.csv

- ``names-only``: the titles alone;
- ``vague``: every row gets the same five sentences, which are true of any structure;
- ``mismatched``: every row keeps its title and gets the five concepts of the next row.

The vague sentences are ours: the paper's own are not published in full.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from ..concepts import CONCEPT_FIELDS, ConceptSet, load_concepts, write_csv
from ..errors import BiPVLError, ConceptError
from ..io.writing import ensure_writable

VAGUE = {
    "shape": "The shape varies from patient to patient.",
    "location": "It lies in the part of the body that the image shows.",
    "appearance": "Its brightness depends on the scan and is sometimes like that of its surroundings.",
    "contour": "The border may be sharp or blurred.",
    "texture": "The inside may look even or uneven.",
}


def names_only(table: ConceptSet) -> ConceptSet:
    return _with(table, [dict.fromkeys(CONCEPT_FIELDS, "")] * len(table))


def vague(table: ConceptSet) -> ConceptSet:
    return _with(table, [VAGUE] * len(table))


def mismatched(table: ConceptSet) -> ConceptSet:
    """Raises ConceptError for a table of one row."""
    if len(table) < 2:
        raise ConceptError(f"The table '{table.name}' has one row; texts can be exchanged between two or more.")
    rows = table.concepts
    return _with(table, [{f: getattr(other, f) for f in CONCEPT_FIELDS} for other in (*rows[1:], rows[0])])


def _with(table: ConceptSet, texts: list[dict[str, str]]) -> ConceptSet:
    return replace(table, concepts=tuple(replace(row, **new) for row, new in zip(table, texts, strict=True)))


KINDS = {"names-only": names_only, "vague": vague, "mismatched": mismatched}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m BiPVLSegLib.tools.ablation_texts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("concepts", metavar="NAME_OR_CSV", help="bundled concept set or a table of your own")
    parser.add_argument("kind", choices=list(KINDS))
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="CSV")
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    try:
        ensure_writable(options.output, options.overwrite)
        write_csv(KINDS[options.kind](load_concepts(options.concepts)), options.output)
    except BiPVLError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Wrote {options.output}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
