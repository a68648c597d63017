"""``python -m BiPVLSegLib.tools.ct_datalist TARGET ORGAN_MAP...``: label maps of whole abdomens, for training on synthetic CT.

ORGAN_MAP: label maps of organs in AMOS's numbering (1 spleen ... 15 prostate/uterus), with nothing around the organs. Of each
map several bodies are made: the organs are scaled and bent at random, and the rest of the body is drawn around them
(see ``data.ct_body``). Maps with the same organs make one data set, TARGET/<first map>/dataset.json; train on all of them
together, so that each is asked only for the organs that it has:

    python -m BiPVLSegLib train --preset abdomen-synthetic --data TARGET/*/dataset.json -o OUT
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from tqdm import tqdm

from ..data import ct_tissues as ct
from ..data.ct_body import complete
from ..data.ct_grid import enlarged
from ..errors import BiPVLError, InputError
from ..io.volume import read_labels
from ..io.writing import atomic_path

CHEST, THIGHS = 95.0, 45.0  # mm of the body above the liver and below the lowest organ
AROUND = (75.0, 75.0, 80.0, 110.0)  # mm of room right, left, front and back of the organs
MISPLACED = 50.0  # mm from every other organ
SCALE, BEND, BEND_SIZE = 0.14, 7.0, 90.0  # of the organs: part, mm (spread), mm
_WIDEST = 5  # voxels, half the inner width of a vessel
TUBES = (ct.AORTA, ct.OESOPHAGUS, ct.VENA_CAVA)


def read_organs(path: Path, spacing: float) -> np.ndarray:
    """An organ map (I, J, K) in RAS order at an isotropic ``spacing`` in mm, its known faults mended.

    Raises:
        InputError: unreadable, it has values that are no AMOS organ, or neither liver nor kidney.
    """
    volume = read_labels(path)
    image = nib.as_closest_canonical(nib.Nifti1Image(volume.array[0], volume.affine))
    organs = np.asarray(image.dataobj)
    unknown = sorted(set(np.unique(organs).tolist()) - {0, *ct.NAMES})
    if unknown:
        raise InputError(f"{path}: the label value(s) {unknown} are no organ in AMOS's numbering (1 to 15).")
    if not (organs == ct.LIVER).any() or not np.isin(organs, (ct.RIGHT_KIDNEY, ct.LEFT_KIDNEY)).any():
        raise InputError(f"{path}: the body is drawn around the liver (6) and the kidneys (2, 3), and one is missing.")
    organs = ndimage.zoom(organs.astype(np.uint8), np.array(image.header.get_zooms()[:3]) / spacing, order=0)
    return _without_misplaced(_solid(_in_one_body(organs, spacing)), spacing)


def _in_one_body(organs: np.ndarray, spacing: float) -> np.ndarray:
    """Nothing above the heart: the superior vena cava is no inferior one. Stumps of tubes at the upper end are continued."""
    liver = np.flatnonzero((organs == ct.LIVER).any(axis=(0, 1)))
    top = organs.shape[2] - 1
    room = max(0, round(CHEST / spacing) - (top - liver.max()))
    cut = organs[:, :, top]
    organs = np.pad(organs, ((0, 0), (0, 0), (0, room)))
    for value in TUBES:
        organs[:, :, top + 1 :][cut == value] = value
    radius = np.sqrt((cut == ct.LIVER).sum() / np.pi) + 1e-6
    depth = ndimage.distance_transform_edt(cut == ct.LIVER)
    for n in range(1, min(room, int(radius / 2)) + 1):  # the dome of a liver that was cut off
        organs[:, :, top + n][depth > radius * (2 * n / radius) ** 2 / 2] = ct.LIVER
    heart = np.flatnonzero((organs == ct.LIVER).any(axis=(0, 1))).max() + round(20 / spacing)
    organs[:, :, heart:][organs[:, :, heart:] == ct.VENA_CAVA] = 0
    return organs


def _solid(organs: np.ndarray) -> np.ndarray:
    """Organs that are drawn as shells are filled, slice by slice in all three directions."""
    out = organs.copy()
    for value, box in enumerate(ndimage.find_objects(organs), start=1):
        if box is None:
            continue
        mask = np.pad(organs[box] == value, _WIDEST)
        closed = ndimage.binary_closing(mask, iterations=2)
        filled = mask.copy()
        for axis in range(3):
            for shell, own in ((mask, False), (closed, closed)):  # the second: shells with small gaps
                slices = [ndimage.binary_fill_holes(part) for part in np.moveaxis(shell, axis, 0)]
                filled |= np.moveaxis(np.stack(slices), 0, axis) & ~np.asarray(own)
        if value in TUBES:  # also where the wall of a vessel has gaps
            i, j = np.ogrid[-_WIDEST : _WIDEST + 1, -_WIDEST : _WIDEST + 1]
            whole = ndimage.binary_closing(mask, (np.hypot(i, j) <= _WIDEST)[:, :, None])
            if whole.sum() > 1.5 * mask.sum():
                filled = ndimage.binary_opening(whole, iterations=1) | mask
        part = out[box]
        inside = (slice(_WIDEST, -_WIDEST),) * 3
        part[filled[inside] & (part == 0)] = value
    return out


def _without_misplaced(organs: np.ndarray, spacing: float) -> np.ndarray:
    """Leaves out an organ that lies far from every other: its place in the map is an error."""
    step = max(1, round(6 / spacing))
    points = {value: np.argwhere(organs == value)[::step] * spacing for value in np.unique(organs)[1:].tolist()}
    for value, own in points.items():
        others = [other for key, other in points.items() if key != value]
        if others and cKDTree(np.concatenate(others)).query(own)[0].min() > MISPLACED:
            organs = np.where(organs == value, 0, organs)
    return organs


def bend(organs: np.ndarray, spacing: float, rng: np.random.Generator) -> np.ndarray:
    """The organs scaled and smoothly displaced at random, on a grid with room for the body around them."""
    inside = np.argwhere(organs)
    low, high = inside.min(axis=0), inside.max(axis=0) + 1
    organs = organs[tuple(map(slice, low, high))]
    top = np.flatnonzero((organs == ct.LIVER).any(axis=(0, 1))).max() + 1
    scale = rng.uniform(1 - SCALE, 1 + SCALE) * rng.uniform(1 - SCALE / 2, 1 + SCALE / 2, 3)
    before = np.array([AROUND[1], AROUND[3], THIGHS]) / spacing
    after = np.array([AROUND[0], AROUND[2], 0]) / spacing
    size = np.array([*organs.shape[:2], top + CHEST / spacing / scale[2]]) * scale
    shape = tuple(np.ceil(before + size + after).astype(int))
    coordinates = np.indices(shape, dtype=np.float32)
    coarse = [max(4, round(n * spacing / BEND_SIZE) + 3) for n in shape]
    for axis, index in enumerate(coordinates):
        index += enlarged(rng.normal(0, BEND / spacing, coarse), shape) - before[axis]
        index /= scale[axis]
    return ndimage.map_coordinates(organs, coordinates, order=0, mode="constant", cval=0)


def write(target: Path, organ_maps: list[Path], spacing: float, variants: int, seed: int) -> list[Path]:
    """Writes the maps and one dataset.json per set of organs; returns the latter.

    Raises:
        InputError: an organ map cannot be used, or two have one name.
    """
    if seed < 0:
        raise InputError(f"The seed must be at least 0, not {seed}.")
    if not 0.5 <= spacing <= 10 or variants < 1:
        raise InputError(
            f"The maps need a spacing of 0.5 to 10 mm and one body at least, not {spacing} mm and {variants}."
        )
    stems = [path.name.split(".")[0] for path in organ_maps]
    if len(set(stems)) < len(stems):
        raise InputError(f"Two organ maps have one name ({', '.join(stems)}); give each file a name of its own.")
    sets: dict[tuple[int, ...], list[tuple[str, np.ndarray]]] = {}
    for stem, path in zip(stems, organ_maps, strict=True):
        organs = read_organs(path, spacing)
        sets.setdefault(tuple(np.unique(organs)[1:].tolist()), []).append((stem, organs))
    written = []
    with tqdm(total=len(organ_maps) * variants, desc="Bodies") as progress:
        for values, members in sets.items():
            folder = target / members[0][0]
            folder.mkdir(parents=True, exist_ok=True)
            names = []
            for stem, organs in members:
                for number in range(variants):
                    rng = np.random.default_rng([seed, *stem.encode(), number])
                    body = complete(bend(organs, spacing, rng), spacing, rng)
                    names.append(f"{stem}-{number:02d}.nii.gz")
                    with atomic_path(folder / names[-1]) as temporary:
                        nib.save(nib.Nifti1Image(body, np.diag([spacing, spacing, spacing, 1.0])), temporary)
                    progress.update()
            content = {
                "name": f"Bodies around the organs of {', '.join(stem for stem, _ in members)}",
                "modality": {"0": "CT"},
                "labels": {ct.NAMES[value]: [value, *ct.PARTS.get(value, ())] for value in values},
                "synthesis": ct.synthesis(),
                "training": [{"label": name} for name in names],
            }
            with atomic_path(folder / "dataset.json") as temporary:
                temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
            written.append(folder / "dataset.json")
    return written


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="folder to write to")
    parser.add_argument("organ_maps", type=Path, nargs="+")
    parser.add_argument("--spacing", type=float, default=2.5, help="of the maps written, mm (default: 2.5)")
    parser.add_argument("--variants", type=int, default=8, help="bodies around each organ map (default: 8)")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main() -> None:
    options = build_parser().parse_args()
    try:
        for path in write(options.target, options.organ_maps, options.spacing, options.variants, options.seed):
            print(path)
    except BiPVLError as error:
        raise SystemExit(str(error)) from error
    except OSError as error:
        raise SystemExit(f"{options.target} cannot be written to ({error.strerror}); choose another folder.") from error


if __name__ == "__main__":
    main()
