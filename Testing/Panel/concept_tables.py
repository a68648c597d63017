"""Two small concept sets and how to find rows in a concept table, for its tests."""

from __future__ import annotations

from BiPVLSegPanel.concepttable import ConceptTable

from BiPVLSegLib.concepts import Concept, ConceptSet, Terminology

KIDNEY = Terminology.parse("SCT^123037004^Anatomical Structure~SCT^64033007^Kidney")


def concept(name: str, **fields) -> Concept:
    fields = {"title": f"{name} in a CT image", "shape": f"shape of {name}", **fields}
    return Concept(name, **fields)


ABDOMEN = ConceptSet(
    "abdomen",
    (
        concept("spleen", color=(1, 2, 3), label=1),
        concept("kidney", terminology=KIDNEY, label=2),
        concept("liver", label=3, enabled=False),
    ),
    modality="CT",
    description="three organs",
)
PELVIS = ConceptSet("pelvis", (concept("bladder", label=1), concept("Kidney", shape="another shape", label=2)), "MR")


def names(table: ConceptTable) -> list[str]:
    return [row.name for row in table.rows]


def keyOf(table: ConceptTable, name: str) -> int:
    return next(row.key for row in table.rows if row.name == name)


def rowOf(table: ConceptTable, name: str):
    return table.row(keyOf(table, name))
