"""Small concept sets for tests."""

from __future__ import annotations

from BiPVLSegLib.concepts import Code, Concept, ConceptSet, Terminology

KIDNEY = Terminology(
    Code("SCT", "123037004", "Anatomical Structure"), Code("SCT", "64033007", "Kidney"), Code("SCT", "7771000", "Left")
)


def a_set(*names: str, **properties) -> ConceptSet:
    return ConceptSet("mine", tuple(Concept(name, f"{name} in a CT image") for name in names), **properties)
