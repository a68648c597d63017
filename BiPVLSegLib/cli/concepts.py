"""Lists the concept sets, shows the texts of one, or writes it to a CSV file for editing."""

from __future__ import annotations

import argparse
import textwrap

NAME, HELP = "concepts", "list, show or export concept texts"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", metavar="NAME_OR_CSV", help="show this one (a CSV file is checked for its form)"
    )
    parser.add_argument("-o", "--output", metavar="CSV", help="write it to this file, to be edited")
    parser.add_argument("--overwrite", action="store_true", help="replace the CSV file if it exists")


def run(options: argparse.Namespace) -> None:
    from ..concepts import CONCEPT_FIELDS, bundled_concept_sets, load_concepts, write_csv
    from ..errors import ConceptError
    from ..io.writing import ensure_writable

    if options.output and not options.name:
        raise ConceptError("Say which concept set to write, for instance: concepts cine-mr -o my-texts.csv")
    if not options.name:
        for name in bundled_concept_sets():
            concept_set = load_concepts(name)
            print(f"{name} ({concept_set.modality}): {', '.join(concept_set.names)}")
        return
    concept_set = load_concepts(options.name)
    if options.output:
        ensure_writable(options.output, options.overwrite)
        write_csv(concept_set, options.output)
        print(f"Wrote {options.output} with {len(concept_set)} rows.")
        return
    for concept in concept_set:
        print(f"{concept.name}{'' if concept.enabled else ' (not enabled)'}: {concept.title}")
        for field in CONCEPT_FIELDS:
            text = getattr(concept, field)
            print(textwrap.fill(text, 110, initial_indent=f"    {field + ':':<12}", subsequent_indent=" " * 16))
