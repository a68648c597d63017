"""How long a run will take, told before it starts and without PyTorch."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
from slicer.i18n import tr as _

from BiPVLSegLib.data.content import COARSE_MM, content_box
from BiPVLSegLib.data.preprocessing import plan_grid
from BiPVLSegLib.errors import ModelError
from BiPVLSegLib.geometry.grid import axis_spacing
from BiPVLSegLib.geometry.region import BoxRegion
from BiPVLSegLib.geometry.windows import plan_windows
from BiPVLSegLib.io.checks import LARGEST
from BiPVLSegLib.model_store import read_config, whole_folder

# Where nothing was measured yet. The default network took 0.61 s for a window of 96^3 voxels on two cores with bf16 and
# about twice that in fp32, the Swin network 12 times as long; the time falls with the cores up to about eight.
_SECONDS_PER_VOXEL = 2 * 0.61 / 96**3
_SWIN_FACTOR = 12
_CORES_OF_THAT, _MOST_CORES = 2, 8
_GPU_FACTOR = 1 / 40
_MPS_FACTOR = 1 / 8
_START_SECONDS = 6.0  # the process, the model and the files


def speedKey(modelFolder, device: str, precision: str) -> tuple[str, str]:
    """Under what a measured speed is remembered (``Settings.secondsPerWindow``): two models may have the same name."""
    return str(whole_folder(Path(modelFolder).resolve())), f"{device}, {precision}"


def estimateSeconds(
    volume, modelFolder, deviceName: str, secondsPerWindow: float | None = None, flips: bool = False, region=None
) -> tuple[float, int]:
    """Seconds and windows of a run for one volume (times the number of frames for a sequence).

    Parameters
    ----------
    volume : a volume node, or (shape (I, J, K), affine).
    modelFolder : folder of a model.
    deviceName : what will compute: "cpu", "cuda", "cuda:N" or "mps"; "auto" counts as "cpu".
    secondsPerWindow : as measured in an earlier run (``Outcome.info["secondsPerWindow"]``, which is without flips), or None.
    region : the matrix of ``roiToRegion``, or None.

    Raises
    ------
    BiPVLError
        Volume, model or region cannot be used.
    """
    from BiPVLSegLib.slicer.volumes import grid_of

    shape, affine = volume if isinstance(volume, tuple) else grid_of(volume)
    config = read_config(modelFolder)
    preprocessing = config.get("preprocessing") or {}
    windows = countWindows(shape, affine, preprocessing, modelFolder, region)
    if secondsPerWindow is None:
        voxels = math.prod(preprocessing["patch_size"])
        secondsPerWindow = voxels * _secondsPerVoxel(config.get("encoder"), deviceName)
    return _START_SECONDS + windows * secondsPerWindow * flipCount(preprocessing, flips), windows


def lookedAt(volume, modelFolder) -> tuple[tuple[int, int, int], np.ndarray]:
    """Shape (I, J, K) and affine of what the model looks at in a volume node: all of it, or about what is not air.

    Raises
    ------
    BiPVLError
        Volume or model cannot be used.
    """
    from BiPVLSegLib.slicer.volumes import view_of_volume

    voxels, affine = view_of_volume(volume)
    preprocessing = read_config(modelFolder).get("preprocessing") or {}
    if not preprocessing.get("crop"):
        return voxels.shape, affine
    steps = [max(1, round(COARSE_MM / mm)) for mm in axis_spacing(affine)]
    few = voxels[tuple(slice(None, None, step) for step in steps)]
    known = np.abs(few) < LARGEST
    few = np.where(known, few, few[known].min() if known.any() else 0)
    try:
        box = content_box(few[np.newaxis], np.multiply(axis_spacing(affine), steps), preprocessing["intensity"])
    except (KeyError, TypeError) as error:
        raise _lacking(modelFolder, error) from error
    first = [part.start * step for part, step in zip(box, steps)]
    stop = [min(part.stop * step, n) for part, step, n in zip(box, steps, voxels.shape)]
    affine[:3, 3] += affine[:3, :3] @ first
    return tuple(b - a for a, b in zip(first, stop)), affine


def countWindows(shape, affine, preprocessing: dict, modelFolder, region=None) -> int:
    """How many windows the worker will run. Raises ModelError where the model does not say how it is used."""
    try:
        grid = plan_grid(shape, affine, preprocessing)
        patch, overlap = preprocessing["patch_size"], preprocessing["overlap"]
    except KeyError as error:
        raise _lacking(modelFolder, error) from error
    needed = None
    if region is not None:
        needed = BoxRegion(np.asarray(region)).grown(grid.affine).mask(grid.shape, grid.affine)
    return plan_windows(grid.shape, patch, overlap, needed).count


def flipCount(preprocessing: dict, flips: bool) -> int:
    """How often each window is computed: once per mirrored version, of those that are asked for or always made."""
    axes = preprocessing.get("flip_axes" if flips else "always_flip") or ()
    return 2 ** (len(axes) + bool(flips and preprocessing.get("mirror_sides")))


def describeSeconds(seconds: float) -> str:
    """A duration in words that promise no more than an estimate can, e.g. "about 3 minutes"."""
    seconds = max(0.0, float(seconds))
    if seconds < 10:
        return _("a few seconds")
    if seconds < 55:
        return _("about {count} seconds").format(count=int(round(seconds, -1)))
    minutes = round(seconds / 60)
    if minutes <= 1:
        return _("about a minute")
    if minutes < 55:
        return _("about {count} minutes").format(count=minutes)
    hours = round(seconds / 1800) / 2
    if hours <= 1:
        return _("about an hour")
    return _("about {count} hours").format(count=f"{hours:g}")


def _lacking(modelFolder, setting) -> ModelError:
    return ModelError(
        _("The config.json in {folder} lacks {setting}; copy the model folder again.").format(
            folder=Path(modelFolder), setting=setting
        )
    )


def _secondsPerVoxel(encoder, deviceName: str) -> float:
    seconds = _SECONDS_PER_VOXEL * (_SWIN_FACTOR if encoder == "swin" else 1)
    if deviceName.startswith("cuda"):
        return seconds * _GPU_FACTOR
    if deviceName.startswith("mps"):
        return seconds * _MPS_FACTOR
    return seconds * _CORES_OF_THAT / min(os.cpu_count() or _CORES_OF_THAT, _MOST_CORES)
