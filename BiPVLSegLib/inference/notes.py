"""What a user should know before trusting a result."""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from ..concepts import fold_name
from ..concepts.sides import mirrored, side_of
from ..data.preprocessing import TILTED
from ..geometry.grid import tilt
from ..io.volume import Volume
from .pose import Pose
from .rows import Rows

CT_AIR = -500  # a volume with many voxels below this is CT in Hounsfield units
FEW_VALUES = 12  # a quantised image has more, a label map seldom


def notes_on(volume: Volume, rows: Rows) -> list[str]:
    """Where volume, texts and model do not seem to belong together, a sentence each."""
    modality = rows.config.preprocessing["modality"].upper()
    return [*_of_image(volume, modality), *_of_place(volume, rows), *_of_texts(rows, modality)]


def notes_on_pose(pose: Pose | None) -> list[str]:
    """Where what was found lies as in no patient, or is of an odd size, a sentence."""
    if pose is None:
        return []
    if pose.is_odd_in_size:
        return [
            f"The structures lie {pose.size:.2f} times as far from each other as in the images that this model was trained on: "
            "is the spacing in the volume's header right?"
        ]
    if not pose.is_unlikely:
        return []
    return [
        "The structures do not lie to each other as in the images that this model was trained on: are orientation and spacing "
        "in the volume's header right, and this the right model?"
    ]


def notes_on_lost(rows: Rows, found: Container[str]) -> list[str]:
    """Where nothing was found at all, or for rows of the model that were given other texts than its own, a sentence."""
    if not any(name in found for name in rows.table.names):
        return ["Nothing was found: is this the right model for the volume?"]
    first = [same[0] for same in rows.rivals().values()]  # rows that say the same as another one are drawn as that one
    known = {fold_name(row.name) for row in rows.own}
    lost = [
        row.name
        for row, own in zip(first, rows.are_own(first), strict=True)
        if not own and row.name not in found and fold_name(row.name) in known
    ]
    if not lost:
        return []
    return [
        f"Nothing was found for {', '.join(lost)}, with other texts than the model's own; see what its own texts find."
    ]


def _of_image(volume: Volume, modality: str) -> list[str]:
    notes = []
    looks_ct = np.mean(volume.array[..., ::4, ::4, ::4] < CT_AIR) > 0.02
    if modality == "MR" and looks_ct:
        notes.append("This model was trained on MR, and the volume looks like CT: expect wrong results.")
    if modality == "CT" and not volume.array.min() < -200:
        notes.append(
            "This model was trained on CT in Hounsfield units, and the volume has no air: expect wrong results."
        )
    sample = np.unique(volume.array[..., ::4, ::4, ::4])
    if len(sample) <= FEW_VALUES and (sample == np.round(sample)).all():
        notes.append("This volume has a few whole numbers only, as a label map has: expect wrong results.")
    return notes


def _of_place(volume: Volume, rows: Rows) -> list[str]:
    """Models that were trained with images along the axes of the body (not mirrored along all of them) do worse on others."""
    preprocessing, degrees = rows.config.preprocessing, tilt(volume.affine)
    if preprocessing["body_axes"] or len(preprocessing["flip_axes"]) == 3 or degrees <= TILTED:
        return []
    return [
        f"The volume is tilted by {degrees:.0f} degrees against the axes of the body, which this model was not trained on: "
        "resample it along them for a better result."
    ]


def _of_texts(rows: Rows, modality: str) -> list[str]:
    notes = []
    table, config = rows.table, rows.config
    if table.modality and modality and table.modality.upper() != modality:
        notes.append(f"The concept texts describe {table.modality} and the model was trained on {modality}.")
    if not config.nested and config.head != "fixed":
        for first, *others in rows.rivals().values():
            if others:
                names = ", ".join(row.name for row in others)
                notes.append(
                    f"The rows {first.name}, {names} have the same texts: what they describe is drawn as {first.name}."
                )
    known = {fold_name(name) for name in config.classes}
    new = [
        row.name
        for row, own in zip(table, rows.are_own(list(table)), strict=True)
        if not own and fold_name(row.name) not in known
    ]
    if known and new:
        notes.append(f"The model was not trained on: {', '.join(new)}. Look at these segments with care.")
    sides = [(row, side_of(row.name), side_of(row.title)) for row in table]
    for row, of_name, of_title in sides:
        if of_name and of_title and mirrored(of_name).lower() == of_title.lower():
            notes.append(f"The title of {row.name} says {of_title.lower()}: what its texts say is drawn.")
    off = {fold_name(row.name) for row in rows.own if not row.enabled}
    asked = [name for name in table.names if fold_name(name) in off]
    if asked:
        notes.append(f"This model's own table has these rows switched off: {', '.join(asked)}. Expect wrong segments.")
    return notes
