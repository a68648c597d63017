"""What the panel says about a volume: size, spacing, modality, and whether a model was trained on its like."""

from __future__ import annotations

import re
from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

from BiPVLSegLib.errors import BiPVLError

_SAMPLES_PER_AXIS = 32  # 32^3 voxels tell air from tissue and are read in about a millisecond
_MODALITY_TAG = "0008,0060"


@dataclass(frozen=True)
class VolumeInfo:
    """A volume as far as the panel describes it.

    ``size`` counts voxels and ``spacing`` is in mm, along i, j, k. ``modality`` is a DICOM code ("CT", "MR", "PT", ...) or
    "" when nothing is known; ``guessed`` when it was told from the voxel values alone. ``problem`` is a sentence when
    the volume cannot be segmented. ``text`` is the line that the panel shows.
    """

    size: tuple[int, int, int] = (0, 0, 0)
    spacing: tuple[float, float, float] = (0.0, 0.0, 0.0)
    modality: str = ""
    guessed: bool = False
    problem: str = ""
    text: str = ""


def describeVolume(volumeNode) -> VolumeInfo:
    """Describes a scalar volume node (or None). Quick for volumes of any size: only some voxels are looked at."""
    from BiPVLSegLib.slicer.volumes import grid_of

    try:
        size, affine = grid_of(volumeNode)
    except BiPVLError as error:
        return VolumeInfo(problem=str(error), text=str(error))
    spacing = tuple(float(value) for value in (affine[:3, :3] ** 2).sum(0) ** 0.5)
    modality = _dicomModality(volumeNode)
    guessed = not modality
    if guessed:
        modality = _modalityOfVoxels(volumeNode)
    text = _("{size} voxels of {spacing} mm").format(
        size=" × ".join(str(count) for count in size), spacing=" × ".join(f"{value:.2f}" for value in spacing)
    )
    if modality:
        kind = _("looks like {modality}") if guessed else "{modality}"
        text += ", " + kind.format(modality=modality)
    return VolumeInfo(tuple(size), spacing, modality, guessed and bool(modality), "", text)


def fitsModel(info: VolumeInfo, entry) -> str:
    """Empty where nothing speaks against running the model on the volume, or a sentence that warns.

    Args:
        entry: a ``ModelEntry``, or None.
    """
    if entry is None or not info.modality or not entry.modality:
        return ""
    if info.modality in re.split(r"[^A-Z0-9]+", entry.modality.upper()):
        return ""
    if info.guessed:
        return _(
            "The model '{model}' was trained on {trained}, and by its values this volume looks like {found}; expect a poor "
            "result."
        ).format(model=entry.name, trained=entry.modality, found=info.modality)
    return _("The model '{model}' was trained on {trained}, and this volume is {found}; expect a poor result.").format(
        model=entry.name, trained=entry.modality, found=info.modality
    )


def _dicomModality(volumeNode) -> str:
    """From the volume's subject hierarchy item or one above it, else from the DICOM database by instance UID."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    name = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName()
    item = hierarchy.GetItemByDataNode(volumeNode) if hierarchy else 0
    while item and item != hierarchy.GetSceneItemID():
        modality = hierarchy.GetItemAttribute(item, name)
        if modality:
            return modality.strip().upper()
        item = hierarchy.GetItemParent(item)
    if volumeNode.GetAttribute(name):  # set by some modules on the node itself
        return volumeNode.GetAttribute(name).strip().upper()
    uids = (volumeNode.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)  # absent before the DICOM module has started
    if uids and database is not None:
        return (database.instanceValue(uids[0], _MODALITY_TAG) or "").strip().upper()
    return ""


def _modalityOfVoxels(volumeNode) -> str:
    """CT where there are Hounsfield units (air near -1000 and soft tissue near 0), MR where nothing is negative.

    Anything else stays empty: a CT cut out around an organ has no air, and a filtered MR may be negative.
    """
    import numpy as np
    from vtk.util.numpy_support import vtk_to_numpy

    image = volumeNode.GetImageData()
    shape = image.GetDimensions()
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape[::-1])
    steps = [max(1, -(-count // _SAMPLES_PER_AXIS)) for count in shape[::-1]]
    sample = voxels[tuple(slice(step // 2, None, step) for step in steps)].astype(np.float32)
    sample = sample[np.isfinite(sample)]
    if sample.size == 0 or sample.min() == sample.max():
        return ""
    if sample.min() >= 0:
        return "MR"
    air = ((sample > -3100) & (sample < -900)).mean()
    tissue = ((sample > -200) & (sample < 300)).mean()
    return "CT" if air > 0.02 and tissue > 0.05 and sample.max() < 33000 else ""
