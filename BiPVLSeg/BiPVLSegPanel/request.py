"""What a run is asked to do, checked before anything is started."""

from __future__ import annotations

import importlib.util
import re
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from BiPVLSegLib.concepts import ConceptSet, load_concepts
from BiPVLSegLib.errors import BiPVLError, ConceptError, DeviceError, InputError, ModelError
from BiPVLSegLib.model_store import available_models, find_model, read_config
from BiPVLSegLib.slicer import require_fitting
from BiPVLSegLib.slicer.volumes import grid_of

from .estimate import flipCount
from .modelcatalogue import ModelCatalogue
from .regions import roiToRegion
from .sequences import Frame, allFrames, browserOf, currentFrame, requireSameTransform
from .settings import Settings

DEFAULT_MODEL = "cardiac-mr"
PRECISIONS = ("auto", "bf16", "fp16", "fp32")
PACKAGES = ("torch", "monai", "transformers", "safetensors", "scipy")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


@dataclass(eq=False)
class SegmentationRequest:
    """Everything that a run needs to know.

    ``frames`` has one entry unless all frames of a sequence were asked for. ``intoSequence`` says that the result goes
    into a segmentation sequence (always so for all frames). ``region`` is the matrix of ``roiToRegion``.
    """

    volumeNode: Any
    outputNode: Any
    frames: list[Frame]
    intoSequence: bool
    concepts: ConceptSet | None
    modelFolder: Path
    device: str
    precision: str
    flips: bool
    probabilities: bool
    region: np.ndarray | None
    show3D: bool
    scene: Any = None
    browser: Any = None
    volumeName: str = ""
    windowPasses: int = 1  # how often a window is computed: once per mirrored version

    def __post_init__(self) -> None:
        self.scene = self.volumeNode.GetScene()
        self.browser = browserOf(self.volumeNode)
        self.volumeName = self.volumeNode.GetName() or self.volumeNode.GetID()
        preprocessing = read_config(self.modelFolder).get("preprocessing") or {}
        self.windowPasses = flipCount(preprocessing, self.flips)


def checkedRequest(
    inputVolume, outputSegmentation, concepts, model, device, roi, precision, flips, probabilities, frames, show3D
) -> SegmentationRequest:
    """The arguments of ``BiPVLSegLogic.process``, checked.

    Raises
    ------
    BiPVLError
        One of them cannot be used, or a package is missing; the sentence says which and what to do.
    """
    if inputVolume is not None and not isinstance(inputVolume, slicer.vtkMRMLVolumeNode):
        raise InputError(_("{value} is no volume; give the node of one.").format(value=_shown(inputVolume)))
    grid_of(inputVolume)
    if inputVolume.GetScene() is None:
        raise InputError(
            _("The volume '{name}' is in no scene; add it to the scene first.").format(name=inputVolume.GetName())
        )
    requirePackages()
    if frames not in ("current", "all"):
        raise InputError(_("The frames must be 'current' or 'all', not '{frames}'.").format(frames=frames))
    if frames == "all" and probabilities:
        raise InputError(
            _("Probabilities can be kept for single frames only; switch them off, or segment the current frame.")
        )
    chosenFrames = allFrames(inputVolume) if frames == "all" else [currentFrame(inputVolume)]
    for frame in chosenFrames:
        grid_of(frame.volumeNode)
    intoSequence, table = _checkedOutput(inputVolume, outputSegmentation, frames == "all"), _checkedConcepts(concepts)
    # Without a table the names are the model's: what a single segmentation can take is found out after the run.
    if outputSegmentation is not None and (intoSequence or table is not None):
        requireOutput(inputVolume, outputSegmentation, intoSequence, () if table is None else table.names)
    if device is not None and not _DEVICE.fullmatch(str(device).strip().lower()):
        raise DeviceError(_("'{name}' is no device; choose auto, cpu, cuda, cuda:N or mps.").format(name=device))
    if precision not in PRECISIONS:
        raise DeviceError(
            _("'{name}' is no precision; choose {choices}.").format(name=precision, choices=", ".join(PRECISIONS))
        )
    return SegmentationRequest(
        volumeNode=inputVolume,
        outputNode=outputSegmentation,
        frames=chosenFrames,
        intoSequence=intoSequence,
        concepts=table,
        modelFolder=_checkedModel(model),
        device=str(device or "auto").strip().lower(),
        precision=precision,
        flips=bool(flips),
        probabilities=bool(probabilities),
        region=None if roi is None else roiToRegion(roi, inputVolume),
        show3D=bool(show3D),
    )


def requirePackages() -> None:
    """Raises BiPVLError where the worker could not even start; nothing is imported."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise BiPVLError(
            _("These Python packages are missing: {names}. Open the module BiPVLSeg and press Install.").format(
                names=", ".join(missing)
            )
        )


def _checkedOutput(volumeNode, outputNode, allOfThem: bool) -> bool:
    """Whether the result goes into a segmentation sequence."""
    if outputNode is None:
        return allOfThem
    if not isinstance(outputNode, slicer.vtkMRMLSegmentationNode):
        raise InputError(
            _("{value} is no segmentation; choose a segmentation to update, or none for a new one.").format(
                value=_shown(outputNode)
            )
        )
    if outputNode.GetScene() is not volumeNode.GetScene():
        raise InputError(
            _("The segmentation '{name}' is not in the scene of the volume; choose another, or none.").format(
                name=outputNode.GetName()
            )
        )
    browser = browserOf(outputNode)
    if browser is None:
        if allOfThem:
            raise InputError(
                _(
                    "'{name}' is one segmentation and not a sequence of them; choose none for a new sequence, or segment "
                    "the current frame."
                ).format(name=outputNode.GetName())
            )
        return False
    if browser is not browserOf(volumeNode):
        raise InputError(
            _("'{segmentation}' belongs to another sequence than '{volume}'; choose another, or none.").format(
                segmentation=outputNode.GetName(), volume=volumeNode.GetName()
            )
        )
    return True


def requireOutput(volumeNode, outputNode, intoSequence: bool, names) -> None:
    """Raises InputError where the output could not take segments of these names beside its others."""
    if intoSequence:
        requireSameTransform(volumeNode, outputNode)
    else:
        require_fitting(outputNode, volumeNode, names)


def _checkedConcepts(concepts) -> ConceptSet | None:
    if concepts is None:
        return None
    table = load_concepts(concepts)
    try:
        return table.enabled()
    except ConceptError as error:
        raise ConceptError(_("No organ is checked; check at least one.")) from error


def _shown(value) -> str:
    """As it stands in a sentence: the name of a node, other things in short."""
    name = value.GetName() if isinstance(value, slicer.vtkMRMLNode) else None
    return f"'{name}'" if name else reprlib.repr(value)


def _folderOf(model) -> Path:
    """Of a model that the library knows, or one that the user has added to the list of the panel."""
    try:
        return find_model(model)
    except (TypeError, ModelError) as error:
        entry = ModelCatalogue(Settings()).find(str(model))
        if entry is not None:
            return Path(entry.folder)
        if isinstance(error, ModelError):
            raise
        raise ModelError(_("{value} is no model; give its name or its folder.").format(value=_shown(model))) from error


def _checkedModel(model) -> Path:
    if model is None or not str(model).strip():
        models = available_models()
        if not models:
            raise ModelError(_("There is no model; add the folder of one."))
        folder = models.get(DEFAULT_MODEL) or next(iter(models.values()))
    else:
        folder = _folderOf(model)
    read_config(folder)
    return folder.resolve()  # the worker runs in another folder
