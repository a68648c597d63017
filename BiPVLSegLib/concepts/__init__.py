"""Concept sets: what to segment, in words. Texts, colours and codes per class; no image data, no model."""

from __future__ import annotations

from .bundled import bundled_concept_sets, load_concepts
from .concept import CONCEPT_FIELDS, TEXT_FIELDS, Concept, fold_name
from .concept_set import ConceptSet
from .csv_io import name_from_title, read_csv, write_csv
from .terminology import Code, Terminology

__all__ = [
    "CONCEPT_FIELDS",
    "TEXT_FIELDS",
    "Code",
    "Concept",
    "ConceptSet",
    "Terminology",
    "bundled_concept_sets",
    "fold_name",
    "load_concepts",
    "name_from_title",
    "read_csv",
    "write_csv",
]
