"""A body around abdominal organs: outline, fat, muscle, diaphragm, lungs, heart and bones as a CT shows them.

The organs are given (a label map); everything else is laid around them by simple geometry, with random proportions, so that a
network that trains on images of such maps has seen what borders on organs in a real scan. Positions are mm in a RAS grid.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..errors import InputError
from . import ct_tissues as ct
from .ct_contents import draw_contents, draw_organ_parts
from .ct_grid import ANGLES, Grid
from .ct_skeleton import draw_pelvis, draw_ribs, draw_spine

_UPPER = (ct.SPLEEN, ct.RIGHT_KIDNEY, ct.LEFT_KIDNEY, ct.GALLBLADDER, ct.LIVER, ct.STOMACH, ct.PANCREAS)
_FRONT, _BACK = np.pi / 2, -np.pi / 2


def complete(organs: np.ndarray, spacing: float, rng: np.random.Generator) -> np.ndarray:
    """Label map of a whole abdomen (values of ``ct_tissues``) around organs.

    Args:
        organs: (I, J, K) in RAS order, AMOS numbers, with room for the rest of the body on all sides.
        spacing: mm, isotropic.
        rng: everything that is random comes from it.

    Raises:
        InputError: there is no liver, or no kidney: the body is laid around them.
    """
    kidneys = np.isin(organs, (ct.RIGHT_KIDNEY, ct.LEFT_KIDNEY))
    if not (organs == ct.LIVER).any() or not kidneys.any():
        raise InputError("A label map needs the liver (6) and a kidney (2 or 3) for a body to be drawn around them.")
    body = Body(organs, Grid(organs.shape, spacing), rng)
    body.draw_layers()
    body.draw_chest()
    draw_ribs(body)
    draw_spine(body)
    draw_pelvis(body)
    draw_contents(body)
    draw_organ_parts(body)
    if rng.random() < 0.7:
        body.draw_table()
    return body.label


def _towards(direction: float, width: float) -> np.ndarray:
    """1 in a direction and less beside it, for each of ``ANGLES``."""
    return np.exp(-((np.angle(np.exp(1j * (ANGLES - direction))) / width) ** 2))


class Body:
    """The label map in the making, and what its parts know of each other.

    Attributes:
        label: (I, J, K) uint8, the result.
        organ: (I, J, K) bool, voxels that belong to a given organ and stay.
        cavity: (I, J, K) mm, distance from the inner surface of the wall, negative inside.
        dome: (I, J) mm, height of the diaphragm.
        spine_x, spine_y: (K,) mm, centre of the vertebral bodies.
        top, low, crest, floor: heights in mm of the liver's top, the kidneys' lower end, the iliac crest and the bladder.
    """

    def __init__(self, organs: np.ndarray, grid: Grid, rng: np.random.Generator):
        self.given, self.grid, self.rng = organs, grid, rng
        self.organ = organs > 0
        self.label = organs.astype(np.uint8)
        s = grid.spacing
        kidneys = np.argwhere(np.isin(organs, (ct.RIGHT_KIDNEY, ct.LEFT_KIDNEY))) * s
        liver = np.argwhere(organs == ct.LIVER) * s
        self.top, self.low = liver[:, 2].max(), kidneys[:, 2].min()
        self.crest = self.low - rng.uniform(5, 40)
        bladder = np.argwhere(organs == ct.BLADDER) * s
        self.floor = bladder[:, 2].mean() if len(bladder) else self.crest - 130.0
        self._place_spine(kidneys, liver)
        self.cavity, self.wall, self.outside = self._surfaces(liver)
        self.dome = self._diaphragm()

    def _place_spine(self, kidneys: np.ndarray, liver: np.ndarray) -> None:
        """Behind the aorta and the inferior vena cava where they are, otherwise between the kidneys."""
        rng, z = self.rng, self.grid.z[0, 0]
        sides = [np.argwhere(self.given == v) * self.grid.spacing for v in (ct.RIGHT_KIDNEY, ct.LEFT_KIDNEY)]
        middle = kidneys[:, 0].mean()
        if all(map(len, sides)):
            middle = np.mean([side[:, 0].mean() for side in sides])
        self.body_x, self.body_y = 22.0 * rng.uniform(0.9, 1.15), 16.0 * rng.uniform(0.9, 1.15)
        y = np.full(len(z), kidneys[:, 1].mean() + rng.uniform(12, 24))
        y += 10 * np.sin((z - self.low) / 140) * (z < self.low) - 0.12 * np.maximum(z - kidneys[:, 2].mean(), 0)
        self.spine_x = middle + 4 * rng.uniform(-1, 1) * np.sin(z / 150 + rng.uniform(0, 6))
        vessels = np.isin(self.given, (ct.AORTA, ct.VENA_CAVA)) & (abs(self.grid.x - middle) < 32)
        there = np.flatnonzero(vessels.any(axis=(0, 1)))
        behind = np.where(vessels.any(axis=1), vessels.argmax(axis=1) * self.grid.spacing, np.inf).min(axis=0)
        if len(there):
            limit = np.interp(np.arange(len(z)), there, behind[there]) - self.body_y - 3
            y = np.where((z > self.crest - 30) & (np.abs(limit - y) < 45), limit, y)
        self.spine_y = np.polyval(np.polyfit(z / 100, y, 4), z / 100)

    def _surfaces(self, liver: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances (I, J, K) from the inside of the wall, from its outside, and from the skin."""
        rng, grid, z = self.rng, self.grid, self.grid.z[0, 0]
        centre = np.array([self.spine_x.mean(), np.argwhere(self.organ)[:, 1].mean() * grid.spacing])
        offset = np.cos(ANGLES) * centre[0] + np.sin(ANGLES) * centre[1]
        organs = grid.support(self.organ) - offset
        organs = ndimage.maximum_filter1d(organs, 2 * round(22 / grid.spacing) + 1, axis=0)
        reach = np.where(np.isfinite(organs), organs, 0).max(axis=0)
        width = (reach[0] + reach[len(ANGLES) // 2]) / 2
        depth = min((reach[len(ANGLES) // 4] + reach[3 * len(ANGLES) // 4]) / 2, 0.8 * width)
        # an ellipse where there are few organs: waist and pelvis
        waist = np.interp(z, [self.floor, self.crest, self.low, self.top - 60, self.top + 60],
                          [0.72, 0.85, rng.uniform(0.85, 0.95), 0.93, 0.85])  # fmt: skip
        ellipse = np.hypot(width * np.cos(ANGLES), depth * rng.uniform(0.85, 1.0) * np.sin(ANGLES))
        belly = rng.uniform(0, 22) * np.maximum(np.sin(ANGLES), 0) ** 2
        inner = np.maximum(np.where(np.isfinite(organs), organs, 0), waist[:, None] * ellipse)
        inner += np.exp(-(((z - self.low) / 90) ** 2))[:, None] * belly
        widest = int((self.given == ct.LIVER).sum(axis=(0, 1)).argmax())
        chest = inner[widest] * np.clip(1 - (z[:, None] - z[widest]) / 900, 0.75, 1)
        inner = np.where((z > z[widest])[:, None], np.maximum(inner, chest), inner)
        inner = ndimage.maximum_filter1d(inner, 3, axis=1, mode="wrap")
        inner = ndimage.gaussian_filter(inner, (12 / grid.spacing, 2.2), mode=("nearest", "wrap")) + rng.uniform(2, 7)
        # muscle: thick along the back and the buttocks
        back, front = _towards(_BACK, 0.75), _towards(_FRONT, 0.5)
        buttocks = 1 / (1 + np.exp((z - self.crest + 20) / 15))[:, None] * np.clip(1 - np.sin(ANGLES), 0, 1.4) * 18
        muscle = rng.uniform(7, 13) + rng.uniform(16, 28) * back + 3 * front + buttocks
        muscle = np.broadcast_to(muscle, inner.shape)
        fat = np.exp(rng.uniform(np.log(4), np.log(38)))
        wave = ndimage.gaussian_filter(
            rng.standard_normal(inner.shape), (40 / grid.spacing, 6), mode=("nearest", "wrap")
        )
        fat = fat * (1 + 0.3 * wave / wave.std()) * (0.75 + 0.35 * np.abs(np.sin(ANGLES)) - 0.25 * back)
        fat = np.maximum(fat * np.where(z < self.crest, 1.25, 1.0)[:, None], 2.5)
        fat = ndimage.gaussian_filter1d(fat, 20 / grid.spacing, axis=0)
        return tuple(grid.convex(offset + h) for h in (inner, inner + muscle, inner + muscle + fat))

    def _diaphragm(self) -> np.ndarray:
        """Height (I, J) under which the abdomen lies: over the organs, and falling away from them like a dome."""
        rng, s = self.rng, self.grid.spacing
        upper = np.isin(self.given, _UPPER)
        top = np.where(upper.any(axis=2), upper.shape[2] - 1 - upper[:, :, ::-1].argmax(axis=2), 0) * s
        slope, step = rng.uniform(1.2, 3.5), 2
        radius = int(60 / s / step)
        i, j = np.ogrid[-radius : radius + 1, -radius : radius + 1]
        cone = -slope * np.hypot(i, j) * s * step
        # the left side of the diaphragm lies a little lower than the right, whatever is below it
        width = np.ptp(np.argwhere(upper.any(axis=(1, 2)))) * s / 2
        left = (self.spine_x.mean() - 0.5 * width, np.argwhere(upper)[:, 1].mean() * s + 10)
        away = np.hypot(*(a[:, :, 0] - c for a, c in zip((self.grid.x, self.grid.y), left)))
        side = self.top - rng.uniform(2, 35) - 0.5 * away**2 / rng.uniform(45, 80)
        coarse = ndimage.maximum_filter(np.maximum(top, side), step)[::step, ::step]
        dome = ndimage.grey_dilation(coarse, structure=cone)
        dome = ndimage.zoom(dome, [n / c for n, c in zip(top.shape, dome.shape)], order=1)
        front = np.clip((self.grid.y[:, :, 0] - self.spine_y.mean()) / 150, 0, 1)  # lungs reach lowest in the back
        dome = ndimage.gaussian_filter(np.maximum(dome, self.top - rng.uniform(70, 130) * (1 - 0.6 * front)), 5 / s)
        return np.maximum(dome, top + rng.uniform(0, 1.5) * s)

    def paint(self, mask: np.ndarray, value: int) -> None:
        """Gives a tissue to the voxels of a mask that are no given organ."""
        self.label[mask & ~self.organ] = value

    @property
    def abdomen(self) -> np.ndarray:
        return (self.cavity < 0) & (self.grid.z <= self.dome[:, :, None])

    def draw_layers(self) -> None:
        rng, grid = self.rng, self.grid
        self.paint(self.outside < 0, ct.FAT)
        self.paint((self.outside < 0) & (self.outside > -2.2), ct.SKIN)
        muscle = self.wall < 0
        self.paint(muscle, ct.MUSCLE)
        self.paint(muscle & grid.filaments(rng, 14, rng.uniform(0.08, 0.3)), ct.FAT)  # between and in muscles
        self.paint(muscle & (np.abs(self.wall + 6) < 0.8) & (grid.noise(rng, 30) > 0.3), ct.FAT)
        self.paint(self.cavity < 0, ct.DEEP_FAT)

    def draw_chest(self) -> None:
        """Lungs down to the diaphragm, sometimes with fluid, and heart, vessels and fat between them."""
        rng, grid = self.rng, self.grid
        above = (self.cavity < -1) & (grid.z > self.dome[:, :, None])
        lung = above.copy()
        x, y = self.spine_x, self.spine_y
        self.paint(above, ct.LUNG)
        self.paint(above & grid.filaments(rng, 20, 0.14), ct.LUNG_VESSEL)
        self.paint(above & grid.filaments(rng, 45, 0.12), ct.LUNG_VESSEL)
        if rng.random() < 0.3:  # effusion or collapsed lung sinks to the back
            level = y.mean() + rng.uniform(-25, 20) + 6 * grid.noise(rng, 40)
            side = (grid.x > x) if rng.random() < 0.5 else (grid.x < x) if rng.random() < 0.5 else True
            self.paint(above & (grid.y < level) & side, ct.EFFUSION if rng.random() < 0.6 else ct.MASS_2)
        front = self.cavity_front()
        size = rng.uniform(0.85, 1.15)
        heart = np.array([x.mean() - rng.uniform(15, 35), front - 52 * size, 0.0])
        i, j, _ = np.clip(grid.index(heart[None])[0], 0, np.array(grid.shape) - 1)
        heart[2] = self.dome[i, j] + rng.uniform(20, 34) * size
        radii = np.array([58, 46, 46]) * size
        self.paint(lung & grid.ellipsoid(heart + [4, 2, -2], radii + 9), ct.DEEP_FAT)
        between = (np.abs(grid.x - x) < 20 + 7 * grid.noise(rng, 40)) & (grid.y < heart[1] + 20) & (grid.y > y - 10)
        self.paint(lung & between, ct.DEEP_FAT)
        beside_spine = np.abs(grid.x - x) < 26 + 0.6 * (y - grid.y)
        self.paint(lung & beside_spine & (grid.y < y - 4), ct.MUSCLE)
        self.paint(lung & grid.ellipsoid(heart, radii), ct.MYOCARDIUM)
        for shift, part in (((-14, 0, 0), 0.52), ((24, 8, 4), 0.55), ((8, -24, 14), 0.4)):
            self.paint(lung & grid.ellipsoid(heart + np.array(shift) * size, radii * part), ct.HEART_BLOOD)

    def cavity_front(self) -> float:
        """How far the cavity reaches to the front above the liver, mm."""
        inside = (self.cavity < 0)[:, :, min(self.grid.index([[0, 0, self.top]])[0][2], self.label.shape[2] - 1)]
        return float(np.flatnonzero(inside.any(axis=0)).max() * self.grid.spacing)

    def draw_table(self) -> None:
        """A curved table top below the back."""
        rng, grid = self.rng, self.grid
        lowest = np.flatnonzero((self.outside < 0).any(axis=(0, 2))).min() * grid.spacing
        sag = ((grid.x - self.spine_x.mean()) / rng.uniform(220, 400)) ** 2 * 80
        under = lowest - rng.uniform(2, 14) + sag - grid.y
        air = self.label == ct.AIR
        self.paint(air & (under > 0) & (under < 26), ct.TABLE_CORE)
        self.paint(air & (under > 0) & (under < rng.uniform(2.2, 4)), ct.TABLE)
