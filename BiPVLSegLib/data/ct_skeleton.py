"""Spine, ribs and pelvis of a body around abdominal organs, with the muscles along them (see ``ct_body``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import ct_tissues as ct

if TYPE_CHECKING:
    from .ct_body import Body


def _ellipse(body: Body, shift_x, shift_y, radius_x, radius_y) -> np.ndarray:
    """In every slice, an ellipse at an offset from the vertebral body; squared radius (I, J, K), below 1 inside."""
    grid = body.grid
    return ((grid.x - body.spine_x - shift_x) / radius_x) ** 2 + ((grid.y - body.spine_y - shift_y) / radius_y) ** 2


def draw_spine(body: Body) -> None:
    """Vertebrae with discs, arch and processes, and psoas and back muscles beside them."""
    rng, grid = body.rng, body.grid
    z, inside = grid.z, body.outside < -4
    rx, ry = body.body_x, body.body_y
    grown = np.clip((body.low + 60 - z) / 130, 0, 1)  # the psoas begins at the kidneys and is thickest at the pelvis
    for side in (-1, 1):
        to_front = -2 + 14 * np.clip((body.crest - z) / 80, 0, 1)
        lumbar = _ellipse(body, side * (rx + 4 + 16 * grown), to_front, 4 + 17 * grown, 4 + 19 * grown)
        body.paint((lumbar < 1) & (grown > 0) & (body.cavity < 4), ct.MUSCLE)
        back = _ellipse(body, side * 27, -ry - 26, 25, 19)
        body.paint((back < 1) & inside, ct.MUSCLE)
        crus = _ellipse(body, side * 13, ry + 2, 10, 6)
        body.paint((crus < 1) & (z > body.low + 30) & (z < body.top - 20) & (body.cavity < 0), ct.MUSCLE)
    body.paint((_ellipse(body, 0, 0, rx + 6, ry + 5) < 1) & inside, ct.DEEP_FAT)
    period = np.interp(z, [body.crest, body.top], [37, 27])
    phase = (np.cumsum(grid.spacing / period, axis=2) + rng.random()) % 1
    sacrum = z < body.crest - 35
    disc = (phase < 0.22) & ~sacrum
    centre = _ellipse(body, 0, 0, rx, ry)
    waist = np.where(disc, 1.05, 1 - 0.12 * np.sin(np.pi * np.clip((phase - 0.22) / 0.78, 0, 1)))
    vertebra = (centre < waist**2) & inside
    body.paint(vertebra, ct.BONE)
    body.paint((centre < (waist * 0.93) ** 2) & (phase > 0.27) & (phase < 0.95) & inside, ct.SPONGY_BONE)
    body.paint(vertebra & disc, ct.DISC)
    low = np.clip((body.crest - 35 - z) / 60, 0, 1)
    wide = (_ellipse(body, 0, -14 * low, rx + 32 * low, ry + 3) < 1) & sacrum & inside
    body.paint(wide, ct.BONE)
    body.paint(
        (_ellipse(body, 0, -14 * low, (rx + 32 * low) * 0.93, (ry + 3) * 0.87) < 1) & sacrum & inside, ct.SPONGY_BONE
    )
    arch_y = -ry - 8
    arch = _ellipse(body, 0, arch_y, 14, 13)
    closed = (phase > 0.35) & (phase < 0.9)
    body.paint((arch < 1) & (arch > 0.42) & (grid.y < body.spine_y - ry) & closed & inside, ct.BONE)
    spinous = (np.abs(grid.x - body.spine_x) < 3.5) & (np.abs(grid.y - body.spine_y - arch_y + 26) < 16) & (phase > 0.4)
    body.paint(spinous & inside & ~sacrum, ct.BONE)
    across = (np.abs(grid.x - body.spine_x) < 38) & (np.abs(grid.y - body.spine_y - arch_y + 3) < 4)
    body.paint(across & (np.abs(phase - 0.6) < 0.13) & (np.abs(grid.x - body.spine_x) > 9) & inside & ~sacrum, ct.BONE)
    facet = np.minimum(_ellipse(body, 17, arch_y - 5, 7, 7), _ellipse(body, -17, arch_y - 5, 7, 7))
    body.paint((facet < 1) & ((phase < 0.3) | (phase > 0.8)) & inside & ~sacrum, ct.BONE)
    body.paint((arch < 0.42) & inside, ct.CANAL)


def draw_ribs(body: Body) -> None:
    """Ribs slope down to the front along the inside of the chest wall; in front they end in cartilage and the sternum."""
    rng, grid = body.rng, body.grid
    shell = (body.cavity > 0.5) & (body.cavity < rng.uniform(8, 10))
    forward = grid.y - body.spine_y
    slope, period = rng.uniform(0.4, 0.8), rng.uniform(26, 33)
    sideways = np.abs(grid.x - body.spine_x)
    phase = ((grid.z + slope * (forward + 0.9 * sideways)) / period + rng.random()) % 1
    front = float((forward[:, :, forward.shape[2] // 2] * (body.cavity < 0).any(axis=(0, 2))).max())
    margin = body.low + 25 + np.maximum(forward, 0) * rng.uniform(0.4, 0.8)
    rib = shell & (phase < rng.uniform(0.36, 0.46)) & (grid.z > margin)
    cartilage = rib & (forward > 0.72 * front) & (sideways < 95)
    body.paint(rib, ct.BONE)
    body.paint(rib & (np.abs(body.cavity - 4.7) < 1.8) & (np.abs(phase - 0.2) < 0.09), ct.SPONGY_BONE)
    body.paint(cartilage, ct.CARTILAGE)
    sternum = (body.cavity > 0.5) & (body.cavity < 12) & (sideways < 17) & (forward > 0) & (grid.z > body.top - 30)
    body.paint(sternum, ct.BONE)
    body.paint(sternum & (np.abs(body.cavity - 6) < 3.5) & (sideways < 14), ct.SPONGY_BONE)


def draw_pelvis(body: Body) -> None:
    """Iliac wings, hip joints and pubic bones, with the muscle inside the wings."""
    rng, grid = body.rng, body.grid
    z = grid.z
    forward, sideways = grid.y - body.spine_y, np.abs(grid.x - body.spine_x)
    wing = (z < body.crest - 0.004 * (forward - 20) ** 2) & (z > body.floor + 5)
    wing = wing & (sideways > 28) & (forward > -45) & (forward < 45 + 0.3 * (body.crest - z))
    thickness = 3.5 + 0.03 * np.clip(body.crest - z, 0, 140)
    plate = wing & (np.abs(body.cavity - 4) < thickness) & (body.outside < -6)
    body.paint(wing & (body.cavity < 0) & (body.cavity > -rng.uniform(6, 16)) & (forward > -20), ct.MUSCLE)  # iliacus
    body.paint(plate, ct.BONE)
    body.paint(plate & (np.abs(body.cavity - 4) < thickness - 2.4), ct.SPONGY_BONE)
    hip_z, hip_y = body.floor + rng.uniform(-10, 12), float(body.spine_y[0]) + rng.uniform(35, 55)
    apart = rng.uniform(80, 95)
    for side in (-1, 1):
        hip = np.array([body.spine_x[0] + side * apart, hip_y, hip_z])
        flesh = body.outside < -5
        body.paint(grid.ellipsoid(hip, (52, 52, 75)) & flesh & (body.cavity > -14), ct.MUSCLE)
        cup = grid.ellipsoid(hip, (33, 33, 33)) & ((grid.x - hip[0]) * side < 8) & flesh
        body.paint(cup, ct.BONE)
        body.paint(grid.ellipsoid(hip, (29, 29, 29)) & ((grid.x - hip[0]) * side < 8) & flesh, ct.SPONGY_BONE)
        body.paint(grid.ellipsoid(hip, (25.5, 25.5, 25.5)), ct.CARTILAGE)
        body.paint(grid.ellipsoid(hip, (24, 24, 24)), ct.BONE)
        neck = hip + np.outer(np.linspace(0, 1, 30), [side * 45, -5, -28])
        body.paint(grid.tube(neck, 15.0) & flesh, ct.BONE)
        body.paint((grid.tube(neck, 12.5) | grid.ellipsoid(hip, (22, 22, 22))) & flesh, ct.SPONGY_BONE)
        pubis = hip + np.outer(np.linspace(0, 1, 40), [-side * (apart - 6), 18, -22])
        body.paint(grid.tube(pubis, 8.5) & flesh, ct.BONE)
        body.paint(grid.tube(pubis, 6.0) & flesh, ct.SPONGY_BONE)
