"""The table of a result: one row per organ, and per frame where the segmentation is a sequence."""

from __future__ import annotations

from dataclasses import dataclass

import vtk
from slicer.i18n import tr as _

from BiPVLSegLib.slicer import place_beside

TABLE_ROLE = "BiPVLSeg.table"  # reference of a segmentation node to its table
_ORGAN_COLUMN = "BiPVLSeg.organColumn"
# Attribute of a table whose note stands before confidence and intensity; once it was the last column.
_NOTE_COLUMN = "BiPVLSeg.noteColumn"


@dataclass(frozen=True)
class Row:
    """``meanIntensity`` and ``confidence`` are None for an organ that was not found, and words where somebody wrote some into
    the table; ``remark`` is "" where all is well."""

    indexValue: str
    organ: str
    volumeMl: float
    meanIntensity: float | str | None
    confidence: float | str | None
    remark: str


def tableOf(segmentationNode):
    """The table of the last run that wrote the segmentation, or None."""
    return None if segmentationNode is None else segmentationNode.GetNodeReference(TABLE_ROLE)


def unsureOf(tableNode) -> list[str]:
    """The rows of a result table that a person should look at, e.g. ``["left ventricle (unsure)"]``, each organ once."""
    table = tableNode.GetTable()
    if table is None or table.GetNumberOfColumns() < 2 or tableNode.GetAttribute(_ORGAN_COLUMN) is None:
        return []
    remarks = table.GetColumn(int(tableNode.GetAttribute(_NOTE_COLUMN) or table.GetNumberOfColumns() - 1))
    organs = table.GetColumn(int(tableNode.GetAttribute(_ORGAN_COLUMN)))
    remarked: dict[str, list[str]] = {}
    for number in range(table.GetNumberOfRows()):
        remark = remarks.GetValue(number)
        if remark and remark not in remarked.setdefault(organs.GetValue(number), []):
            remarked[organs.GetValue(number)].append(remark)
    return [
        _("{organ} ({remark})").format(organ=organ, remark=", ".join(remarks)) for organ, remarks in remarked.items()
    ]


def remarkedOrgans(tableNode, indexValue: str) -> set[str]:
    """The organs of which the last run had something to remark, in this frame where the segmentation is a sequence."""
    if tableNode is None:
        return set()
    rows = _readRows(tableNode, tableNode.GetAttribute(_ORGAN_COLUMN) == _organColumn(True))
    return {row.organ for row in rows if row.remark and row.indexValue in ("", indexValue)}


def fillTable(request, segmentationNode, rows: list[Row]):
    """Writes the rows into the segmentation's table, or into a new one beside it, and returns the table node."""
    tableNode = tableOf(segmentationNode)
    if tableNode is None:
        name = request.scene.GenerateUniqueName(_("{volume} organs").format(volume=request.volumeName))
        tableNode = request.scene.AddNewNodeByClass("vtkMRMLTableNode", name)
        segmentationNode.SetNodeReferenceID(TABLE_ROLE, tableNode.GetID())
        place_beside(tableNode, request.volumeNode)
    byFrame = request.intoSequence
    earlier = _readRows(tableNode, byFrame)
    if byFrame:
        rows = _withOthersByFrame(rows, earlier, request.browser.GetSequenceNode(segmentationNode))
    else:
        rows = _withOthers(rows, earlier, segmentationNode)
    wasModifying = tableNode.StartModify()
    try:
        tableNode.SetAndObserveTable(_vtkTable(rows, byFrame))
        tableNode.SetUseColumnTitleAsColumnHeader(True)
        tableNode.SetLocked(True)
        tableNode.SetAttribute(_ORGAN_COLUMN, _organColumn(byFrame))
        tableNode.SetAttribute(_NOTE_COLUMN, str(int(_organColumn(byFrame)) + 2))
    finally:
        tableNode.EndModify(wasModifying)
    return tableNode


def _withOthers(rows: list[Row], earlier: list[Row], segmentationNode) -> list[Row]:
    """The rows, and what earlier runs found out about segments that this one has left as they were."""
    others = _organsIn(segmentationNode) - {row.organ for row in rows}
    return [*rows, *(row for row in earlier if row.organ in others)]


def _withOthersByFrame(rows: list[Row], earlier: list[Row], sequenceNode) -> list[Row]:
    """The same for the segments of each frame; in the order of the frames, and of the organs in the earlier rows."""
    frames = {row.indexValue for row in [*earlier, *rows]}
    there = {(frame, organ) for frame in frames for organ in _organsIn(sequenceNode.GetDataNodeAtValue(frame, True))}
    others = there - {(row.indexValue, row.organ) for row in rows}
    frameOrder = {frame: sequenceNode.GetItemNumberFromIndexValue(frame, True) for frame in frames}
    organOrder = list(dict.fromkeys(row.organ for row in [*earlier, *rows]))
    return sorted(
        [*rows, *(row for row in earlier if (row.indexValue, row.organ) in others)],
        key=lambda row: (frameOrder[row.indexValue], organOrder.index(row.organ)),
    )


def _organsIn(segmentationNode) -> set[str]:
    """The names of its segments; none where there is no segmentation."""
    if segmentationNode is None:
        return set()
    segmentation = segmentationNode.GetSegmentation()
    return {segmentation.GetNthSegment(number).GetName() for number in range(segmentation.GetNumberOfSegments())}


def _readRows(tableNode, byFrame: bool) -> list[Row]:
    """The rows of earlier runs; none where the table is new or has the other form."""
    table = tableNode.GetTable()
    count = 6 if byFrame else 5
    if table is None or tableNode.GetAttribute(_ORGAN_COLUMN) != _organColumn(byFrame):
        return []
    if table.GetNumberOfColumns() != count:
        return []
    columns = [table.GetColumn(number) for number in range(count)]
    rows = []
    for number in range(table.GetNumberOfRows()):
        *frame, organ, volume, third, confidence, last = (column.GetValue(number) for column in columns)
        remark, intensity = (third, last) if tableNode.GetAttribute(_NOTE_COLUMN) else (last, third)
        rows.append(Row(frame[0] if byFrame else "", organ, volume, _value(intensity), _value(confidence), remark))
    return rows


def _organColumn(byFrame: bool) -> str:
    return "1" if byFrame else "0"


def _vtkTable(rows: list[Row], byFrame: bool):
    table = vtk.vtkTable()
    if byFrame:
        _addColumn(table, vtk.vtkStringArray(), _("Frame"), [row.indexValue for row in rows])
    _addColumn(table, vtk.vtkStringArray(), _("Organ"), [row.organ for row in rows])
    _addColumn(table, vtk.vtkDoubleArray(), _("Volume (ml)"), [round(row.volumeMl, 2) for row in rows])
    _addColumn(table, vtk.vtkStringArray(), _("Note"), [row.remark for row in rows])  # in view in a narrow panel, too
    # As text: an organ that was not found has neither, and "nan" tells a reader nothing.
    _addColumn(table, vtk.vtkStringArray(), _("Confidence"), [_number(row.confidence, 2) for row in rows])
    _addColumn(table, vtk.vtkStringArray(), _("Mean intensity"), [_number(row.meanIntensity, 1) for row in rows])
    return table


def _addColumn(table, column, name: str, values: list) -> None:
    column.SetName(name)
    for value in values:
        column.InsertNextValue(value)
    table.AddColumn(column)


def _number(value: float | str | None, digits: int) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else f"{value:.{digits}f}"


def _value(text: str) -> float | str | None:
    try:
        return float(text) if text else None
    except ValueError:
        return text
