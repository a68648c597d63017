"""The table of a result: one row per organ, and per frame where all frames of a sequence were segmented."""

from __future__ import annotations

from dataclasses import dataclass

import vtk
from slicer.i18n import tr as _

from BiPVLSegLib.slicer import place_beside

TABLE_ROLE = "BiPVLSeg.table"  # reference of a segmentation node to its table
_ORGAN_COLUMN = "BiPVLSeg.organColumn"


@dataclass(frozen=True)
class Row:
    """``meanIntensity`` and ``confidence`` are None for an organ that was not found; ``remark`` is "" where all is well."""

    indexValue: str
    organ: str
    volumeMl: float
    meanIntensity: float | None
    confidence: float | None
    remark: str


def tableOf(segmentationNode):
    """The table of the last run that wrote the segmentation, or None."""
    return None if segmentationNode is None else segmentationNode.GetNodeReference(TABLE_ROLE)


def unsureOf(tableNode) -> list[str]:
    """The rows of a result table that a person should look at, e.g. ``["left ventricle (unsure)"]``, each organ once."""
    table = tableNode.GetTable()
    if table.GetNumberOfColumns() < 2 or tableNode.GetAttribute(_ORGAN_COLUMN) is None:
        return []
    remarks = table.GetColumn(table.GetNumberOfColumns() - 1)
    organs = table.GetColumn(int(tableNode.GetAttribute(_ORGAN_COLUMN)))
    remarked: dict[str, list[str]] = {}
    for number in range(table.GetNumberOfRows()):
        remark = remarks.GetValue(number)
        if remark and remark not in remarked.setdefault(organs.GetValue(number), []):
            remarked[organs.GetValue(number)].append(remark)
    return [
        _("{organ} ({remark})").format(organ=organ, remark=", ".join(remarks)) for organ, remarks in remarked.items()
    ]


def fillTable(request, segmentationNode, rows: list[Row]):
    """Writes the rows into the segmentation's table, or into a new one beside it, and returns the table node."""
    tableNode = tableOf(segmentationNode)
    if tableNode is None:
        name = request.scene.GenerateUniqueName(_("{volume} organs").format(volume=request.volumeName))
        tableNode = request.scene.AddNewNodeByClass("vtkMRMLTableNode", name)
        segmentationNode.SetNodeReferenceID(TABLE_ROLE, tableNode.GetID())
        place_beside(tableNode, request.volumeNode)
    byFrame = len(request.frames) > 1
    if not byFrame:
        rows = [*rows, *_rowsOfOtherSegments(tableNode, segmentationNode, {row.organ for row in rows})]
    wasModifying = tableNode.StartModify()
    try:
        tableNode.SetAndObserveTable(_vtkTable(rows, byFrame))
        tableNode.SetUseColumnTitleAsColumnHeader(True)
        tableNode.SetLocked(True)
        tableNode.SetAttribute(_ORGAN_COLUMN, "1" if byFrame else "0")
    finally:
        tableNode.EndModify(wasModifying)
    return tableNode


def _rowsOfOtherSegments(tableNode, segmentationNode, written: set[str]) -> list[Row]:
    """What an earlier run found out about segments that this one has left as they were."""
    table = tableNode.GetTable()
    if tableNode.GetAttribute(_ORGAN_COLUMN) != "0" or table.GetNumberOfColumns() != 5:
        return []
    segmentation = segmentationNode.GetSegmentation()
    there = {segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())}
    columns = [table.GetColumn(number) for number in range(5)]
    rows = []
    for number in range(table.GetNumberOfRows()):
        organ, volume, intensity, confidence, remark = (column.GetValue(number) for column in columns)
        if organ in there - written:
            numbers = [float(text) if text else None for text in (intensity, confidence)]
            rows.append(Row("", organ, volume, *numbers, remark))
    return rows


def _vtkTable(rows: list[Row], byFrame: bool):
    table = vtk.vtkTable()
    if byFrame:
        _addColumn(table, vtk.vtkStringArray(), _("Frame"), [row.indexValue for row in rows])
    _addColumn(table, vtk.vtkStringArray(), _("Organ"), [row.organ for row in rows])
    _addColumn(table, vtk.vtkDoubleArray(), _("Volume (ml)"), [round(row.volumeMl, 2) for row in rows])
    # As text: an organ that was not found has neither, and "nan" tells a reader nothing.
    _addColumn(table, vtk.vtkStringArray(), _("Mean intensity"), [_number(row.meanIntensity, 1) for row in rows])
    _addColumn(table, vtk.vtkStringArray(), _("Confidence"), [_number(row.confidence, 2) for row in rows])
    _addColumn(table, vtk.vtkStringArray(), _("Note"), [row.remark for row in rows])
    return table


def _addColumn(table, column, name: str, values: list) -> None:
    column.SetName(name)
    for value in values:
        column.InsertNextValue(value)
    table.AddColumn(column)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
