"""What fills the abdomen between and inside the organs: bowel, vessels, masses, and the inner structure of organs.

Bowel is what borders on organs in most places, with gas, fluid, contrast medium or stool in it; so it is drawn as loops along
random walks through the free space, where neighbours touch wall to wall.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from . import ct_tissues as ct
from .ct_grid import curve

if TYPE_CHECKING:
    from .ct_body import Body

_FILLING = {  # chances of gas, fluid, contrast medium, stool, none
    "colon": (0.35, 0.08, 0.12, 0.37, 0.08),
    "small": (0.12, 0.33, 0.15, 0.0, 0.40),
    "stomach": (0.15, 0.5, 0.25, 0.0, 0.1),
}
_STEP = 3.0  # mm between points of a loop


def draw_contents(body: Body) -> None:
    """Vessels, colon, small bowel and masses in the fat of the abdomen."""
    rng, grid = body.rng, body.grid
    _draw_vessels(body)
    free = body.abdomen & (body.label == ct.DEEP_FAT)
    kidneys = np.isin(body.given, (ct.RIGHT_KIDNEY, ct.LEFT_KIDNEY))
    fat_of_kidney = ndimage.distance_transform_edt(~kidneys, grid.spacing) < rng.uniform(4, 16)
    spine = (np.abs(grid.x - body.spine_x) < 35) & (grid.y < body.spine_y + body.body_y + 6)
    free &= ~fat_of_kidney & ~spine & (body.cavity < -rng.uniform(0.5, 5))
    loops: list[tuple[np.ndarray, np.ndarray, str]] = []
    if not (body.given == ct.STOMACH).any():
        loops.append(_stomach(body))
    loops += _colon(body)
    loops += _small_bowel(body, free)
    _draw_loops(body, free, loops)
    mesentery = body.abdomen & (body.label == ct.DEEP_FAT)
    body.paint(mesentery & grid.filaments(rng, 16, rng.uniform(0.1, 0.22)), ct.VEIN)
    _draw_masses(body)


def _draw_vessels(body: Body) -> None:
    """Aorta, vena cava and oesophagus where the map has none, portal and splenic vein, renal vessels."""
    rng, grid = body.rng, body.grid
    k = np.arange(grid.shape[2])
    z = k * grid.spacing
    there = set(np.unique(body.given).tolist())
    front = body.spine_y + body.body_y
    wave = 4 * np.sin(z / 60 + rng.uniform(0, 6))
    if ct.AORTA not in there:
        line = np.stack([body.spine_x - 9 + wave, front + 13, z], 1)[z > body.crest - 10]
        body.paint(grid.tube(line, rng.uniform(8.5, 13)), ct.ARTERY)
    if ct.VENA_CAVA not in there:
        line = np.stack([body.spine_x + 19 + wave / 2, front + 11 + 20 * np.clip((z - body.low) / 150, 0, 1), z], 1)
        body.paint(grid.tube(line[(z > body.crest - 15) & (z < body.top + 15)], rng.uniform(9, 13)), ct.VEIN)
    if ct.OESOPHAGUS not in there:
        line = np.stack([body.spine_x - 10 + wave / 2, front + 30, z], 1)[z > body.top - 30]
        body.paint(grid.tube(line, rng.uniform(6, 10)), ct.BOWEL_SOLID)
    if ct.PANCREAS in there:
        pancreas = np.argwhere(body.given == ct.PANCREAS) * grid.spacing
        liver = np.argwhere(body.given == ct.LIVER) * grid.spacing
        neck = pancreas[np.argsort(np.abs(pancreas[:, 0] - body.spine_x.mean()))[:200]].mean(axis=0)
        hilum = liver[np.argsort(np.linalg.norm(liver - (neck + [25, 8, 35]), axis=1))[:400]].mean(axis=0)
        portal = curve([neck - [0, 4, 50], neck - [0, 8, 10], (neck + hilum) / 2, hilum, hilum + [12, 0, 12]])
        tube = grid.tube(portal, rng.uniform(5, 8))
        body.paint(tube, ct.VEIN)
        body.label[tube & (body.given == ct.LIVER)] = ct.LIVER_VESSEL
        if ct.SPLEEN in there:
            spleen = (np.argwhere(body.given == ct.SPLEEN) * grid.spacing).mean(axis=0)
            tail = pancreas[pancreas[:, 0].argmin()]
            splenic = curve([neck - [0, 8, 0], (neck + tail) / 2 - [0, 9, 0], tail - [0, 6, 0], spleen])
            body.paint(grid.tube(splenic, rng.uniform(3.5, 5.5)), ct.VEIN)
    for value in (ct.RIGHT_KIDNEY, ct.LEFT_KIDNEY):
        if value in there:
            kidney = (np.argwhere(body.given == value) * grid.spacing).mean(axis=0)
            i = int(np.clip(kidney[2] / grid.spacing, 0, len(z) - 1))
            vein = curve([kidney, [(kidney[0] + body.spine_x[i]) / 2, front[i] + 2, kidney[2]],
                          [body.spine_x[i], front[i] + 22, kidney[2] + 8]])  # fmt: skip
            body.paint(grid.tube(vein, rng.uniform(3, 5)) & (body.label == ct.DEEP_FAT), ct.VEIN)


def _middle(body: Body) -> tuple[float, float, float, float]:
    """x of the midline, half width, y of the back and of the front of the cavity below the kidneys, mm."""
    s = body.grid.spacing
    inside = (body.cavity < 0)[:, :, int(np.clip(body.low / s, 0, body.grid.shape[2] - 1))]
    x, y = np.flatnonzero(inside.any(axis=1)) * s, np.flatnonzero(inside.any(axis=0)) * s
    return float(body.spine_x.mean()), float(np.ptp(x) / 2), float(y.min()), float(y.max())


def _stomach(body: Body) -> tuple[np.ndarray, np.ndarray, str]:
    rng = body.rng
    middle, half, back, front = _middle(body)
    wide = rng.uniform(0.7, 1.3)
    points = np.array([
        [middle - 0.45 * half, 0.6 * back + 0.4 * front, body.top - 35],
        [middle - 0.5 * half, 0.4 * back + 0.6 * front, body.top - 80],
        [middle - 0.3 * half, front - 35, body.top - 125], [middle + 0.1 * half, front - 40, body.top - 140],
    ])  # fmt: skip
    line = curve(points + rng.normal(0, 8, points.shape), _STEP)
    return line, np.interp(np.linspace(0, 1, len(line)), [0, 0.3, 1], [34, 30, 16]) * wide, "stomach"


def _colon(body: Body) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """A frame of colon around the abdomen, in pieces with their own filling."""
    rng = body.rng
    middle, half, back, front = _middle(body)
    at = lambda part: back + part * (front - back)  # noqa: E731
    low, crest, sag = body.low, body.crest, rng.uniform(-60, 60)
    points = np.array([
        [middle + 0.65 * half, at(0.5), crest - 45], [middle + 0.72 * half, at(0.42), crest + 20],
        [middle + 0.7 * half, at(0.5), low + 50], [middle + 0.4 * half, at(0.85), low + 45 + sag / 2],
        [middle, at(0.9), low + 40 + sag], [middle - 0.45 * half, at(0.8), low + 80 + sag / 2],
        [middle - 0.75 * half, at(0.5), low + 120], [middle - 0.78 * half, at(0.35), low + 50],
        [middle - 0.75 * half, at(0.38), crest], [middle - 0.5 * half, at(0.55), crest - 45],
        [middle - 0.1 * half, at(0.5), crest - 70], [middle, at(0.2), body.floor + 40], [middle, at(0.12), body.floor - 20],
    ])  # fmt: skip
    line = curve(points + rng.normal(0, 9, points.shape), _STEP)
    along = np.arange(len(line)) * _STEP
    radius = np.interp(along / along[-1], [0, 0.25, 0.55, 0.75, 1], [27, 24, 20, 14, 17]) * rng.uniform(0.75, 1.25)
    radius *= 1 + 0.2 * np.sin(along / rng.uniform(4.5, 7)) + 0.25 * np.sin(along / 60 + rng.uniform(0, 6))  # haustra
    cuts = np.flatnonzero(np.diff((along // rng.uniform(70, 160)).astype(int))) + 1
    return [(a, b, "colon") for a, b in zip(np.split(line, cuts), np.split(radius, cuts), strict=True)]


def _small_bowel(body: Body, free: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, str]]:
    """Loops by random walks through the free space in front of the spine."""
    rng, grid = body.rng, body.grid
    room = free & (grid.z < body.top - 70)
    room = ndimage.binary_erosion(room, iterations=max(1, round(4 / grid.spacing)))
    seeds = np.argwhere(room)
    if not len(seeds):
        return []
    radius = rng.uniform(8, 13)
    length = rng.uniform(0.35, 1.1) * len(seeds) * grid.spacing**3 / (np.pi * radius**2)
    loops = []
    while length > 0 and len(loops) < 400:
        walk = _walk(rng, room, grid.spacing, seeds[rng.integers(len(seeds))] * grid.spacing, int(rng.uniform(15, 60)))
        loops.append((walk, np.full(len(walk), radius * rng.uniform(0.7, 1.35)), "small"))
        length -= max(len(walk), 4) * _STEP
    return loops


def _walk(rng: np.random.Generator, room: np.ndarray, spacing: float, start: np.ndarray, steps: int) -> np.ndarray:
    points, direction = [np.asarray(start, float)], rng.normal(size=3)
    for _ in range(steps):
        for tries in range(6):
            turned = direction + rng.normal(scale=0.35 + 0.4 * tries, size=3)
            turned /= np.linalg.norm(turned)
            point = points[-1] + _STEP * turned
            index = tuple(np.rint(point / spacing).astype(int))
            if all(0 <= i < n for i, n in zip(index, room.shape)) and room[index]:
                points.append(point)
                direction = turned
                break
        else:
            break
    return np.array(points)


def _draw_loops(body: Body, free: np.ndarray, loops: list[tuple[np.ndarray, np.ndarray, str]]) -> None:
    """Every free voxel belongs to the nearest loop, if it is within its radius: a wall, and what is in it."""
    rng, grid = body.rng, body.grid
    points = np.concatenate([line for line, _, _ in loops])
    radii = np.concatenate([radius for _, radius, _ in loops])
    owner = np.repeat(np.arange(len(loops)), [len(line) for line, _, _ in loops])
    index = grid.index(points)
    inside = np.all((index >= 0) & (index < grid.shape), axis=1)
    points, radii, owner, index = points[inside], radii[inside], owner[inside], tuple(index[inside].T)
    number = np.full(grid.shape, -1, np.int32)
    number[index] = np.arange(len(points))
    box = ndimage.find_objects(free.astype(np.uint8))[0]
    distance, nearest = ndimage.distance_transform_edt(number[box] < 0, grid.spacing, return_indices=True)
    number = number[box][tuple(nearest)]
    gut = free[box] & (distance < radii[number])
    depth = np.minimum(
        radii[number] - distance, ndimage.distance_transform_edt(np.pad(free[box], 1), grid.spacing)[1:-1, 1:-1, 1:-1]
    )
    # neighbouring loops: half a wall on either side
    border = np.zeros_like(gut)
    of = owner[number]
    for axis in range(3):
        one, other = [slice(None)] * 3, [slice(None)] * 3
        one[axis], other[axis] = slice(1, None), slice(None, -1)
        border[tuple(one)] |= of[tuple(one)] != of[tuple(other)]
    lumen = gut & (depth > rng.uniform(1.8, 3.2)) & ~border
    kinds = [rng.choice(5, p=_FILLING[kind]) for _, _, kind in loops]
    level = rng.uniform(-0.7, 0.7, len(loops))
    filling = np.array([ct.BOWEL_GAS, ct.BOWEL_FLUID, ct.BOWEL_CONTRAST, ct.FAECES, ct.BOWEL_SOLID], np.uint8)
    fill = filling[np.array(kinds)][of]
    up = grid.y[:, box[1]] - points[number, 1].astype(np.float32)
    fluid = rng.random(len(loops)) < 0.5
    sunk = (fill == ct.BOWEL_GAS) & (up < level[of] * radii[number]) & fluid[of]
    fill[sunk] = rng.choice([ct.BOWEL_FLUID, ct.FAECES, ct.BOWEL_CONTRAST], p=[0.5, 0.3, 0.2])
    bubbles = (fill == ct.FAECES) & (grid.noise(rng, 6)[box] > rng.uniform(0.7, 2))
    fill[bubbles] = ct.BOWEL_GAS
    label = body.label[box]
    label[gut] = ct.BOWEL_WALL
    label[lumen] = fill[lumen]
    label[gut & (fill == ct.BOWEL_SOLID)] = ct.BOWEL_SOLID


def _draw_masses(body: Body) -> None:
    """Soft tissue as bright as organs that is none: nodes, tumours, muscles, scars; sometimes free fluid."""
    rng, grid = body.rng, body.grid
    room = body.abdomen & (body.label == ct.DEEP_FAT)
    places = np.argwhere(room) * grid.spacing
    for value in rng.choice([ct.MASS, ct.MASS_2], rng.integers(2, 14)):
        if len(places):
            shape = grid.ellipsoid(places[rng.integers(len(places))], rng.uniform(3, 22) * rng.uniform(0.6, 1.4, 3))
            body.paint(shape & body.abdomen & (body.label != ct.BONE), value)
    if rng.random() < 0.2:  # ascites around the organs
        deep = ndimage.distance_transform_edt(~body.organ, grid.spacing) < rng.uniform(4, 18)
        body.paint(deep & room & (grid.noise(rng, 50) > rng.uniform(-0.5, 1)), ct.EFFUSION)


def draw_organ_parts(body: Body) -> None:
    """Walls, contents, vessels and lesions inside the given organs."""
    rng, grid, label, given = body.rng, body.grid, body.label, body.given
    _draw_liver(body)
    for kidney, medulla, cyst in (
        (ct.RIGHT_KIDNEY, ct.RIGHT_MEDULLA, ct.RIGHT_CYST),
        (ct.LEFT_KIDNEY, ct.LEFT_MEDULLA, ct.LEFT_CYST),
    ):
        depth = grid.depth(given == kidney)
        label[(depth > rng.uniform(5, 8)) & (grid.noise(rng, 9) > -0.4)] = medulla
        label[(depth > rng.uniform(13, 17)) & (grid.noise(rng, 10) > -0.2)] = cyst  # pelvis, as bright as a cyst
        if rng.random() < 0.3:
            _spots(body, given == kidney, cyst, 1, (4, 16))
    if rng.random() < 0.2:
        _spots(body, given == ct.SPLEEN, ct.SPLEEN_LESION, rng.integers(1, 4), (3, 12))
    depth = grid.depth(given == ct.STOMACH)
    lumen = depth > rng.uniform(2.5, 6)
    label[lumen] = ct.STOMACH_CONTENT
    if lumen.any():  # gas rises to the front
        heights = np.broadcast_to(grid.y, grid.shape)[lumen]
        label[lumen & (grid.y > np.quantile(heights, rng.uniform(0.3, 1)))] = ct.STOMACH_GAS
    if rng.random() < 0.6:
        label[grid.depth(given == ct.DUODENUM) > rng.uniform(2.5, 6)] = ct.DUODENUM_CONTENT
    bladder = given == ct.BLADDER
    label[bladder & (grid.depth(bladder) < rng.uniform(1, 5))] = ct.BLADDER_WALL
    if rng.random() < 0.15:
        _spots(body, given == ct.GALLBLADDER, ct.GALLSTONE, 1, (3, 8))


def _draw_liver(body: Body) -> None:
    rng, grid = body.rng, body.grid
    liver = body.given == ct.LIVER
    deep = grid.depth(liver) > 6
    for size, width in ((26, 0.16), (42, 0.13)):
        body.label[deep & grid.filaments(rng, size, width * rng.uniform(0.6, 1.3))] = ct.LIVER_VESSEL
    for value in (ct.LIVER_LESION, ct.LIVER_LESION_2):
        if rng.random() < 0.4:
            _spots(body, liver, value, rng.integers(1, 6), (3, 24))


def _spots(body: Body, organ: np.ndarray, value: int, count: int, radius: tuple[float, float]) -> None:
    """Round lesions in an organ."""
    places = np.argwhere(organ) * body.grid.spacing
    for _ in range(int(count) if len(places) else 0):
        shape = body.grid.ellipsoid(
            places[body.rng.integers(len(places))], body.rng.uniform(*radius) * body.rng.uniform(0.8, 1.2, 3)
        )
        body.label[shape & organ] = value
