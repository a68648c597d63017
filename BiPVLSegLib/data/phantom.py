"""A generated, beating short-axis heart with known truth: cine cardiac MR (bSSFP look) for demos, tests and training.

Axes and labels are those of ACDC arrays: i runs to the patient's left, j to the back, k from base to apex. The right
ventricle so lies towards low i; in ACDC its centroid is at 171 degrees (mean over 160 volumes) in the (i, j) plane
as seen from the left ventricle, and the cavity is wider in the low-k half in 96 % of volumes. Sizes, wall thickness
and brightness follow the medians measured there. Labels are 1 right ventricle, 2 left ventricular myocardium, 3 left
ventricle; as in ACDC, papillary muscles and trabeculae belong to the cavity.

All lengths are in mm. Two signals are painted, water and fat; the picture is their difference in magnitude after
averaging over each voxel, which gives the dark rim that balanced SSFP shows where fat meets water
(opposed phase at TE = TR / 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter

from ..errors import InputError

LABELS = {1: "Right ventricle", 2: "Left ventricular myocardium", 3: "Left ventricle"}
END_SYSTOLE = 0.37
"""Phase at which the ventricles are smallest; 0 and 1 are end-diastole."""

_OVERSAMPLING = 2  # in-plane samples per voxel and axis
_THROUGH_PLANE = (-0.3, 0.0, 0.3)  # where a slice is sampled, in slice thicknesses
_HEART_REACH = 92.0  # half width of the square that is painted anew in each frame
# How far the ventricles have contracted over the cycle: ejection, early filling, diastasis, atrial kick.
_CONTRACTION = PchipInterpolator(
    [0, 0.1, 0.25, END_SYSTOLE, 0.5, 0.62, 0.82, 1], [0, 0.25, 0.85, 1, 0.62, 0.25, 0.15, 0]
)

# Signal with blood at 1. Air is 0, fat goes to the fat signal.
_MYOCARDIUM, _MUSCLE, _LIVER, _LUNG, _BONE = 0.37, 0.26, 0.33, 0.06, 0.30


class PhantomVolume(NamedTuple):
    """``image`` (I, J, K) or (I, J, K, T) int16, ``labels`` alike uint8, ``affine`` 4x4, voxel index -> RAS mm."""

    image: np.ndarray
    labels: np.ndarray
    affine: np.ndarray


@dataclass(frozen=True)
class _Heart:
    """One patient's heart at end-diastole, and how it moves. z runs from the mitral valve plane towards the apex."""

    centre: tuple[float, float]  # of the left ventricle, in the image plane
    angle: float  # direction from the left to the right ventricle, radians from +i towards +j
    tilt: tuple[float, float]  # drift of the axis per mm towards the apex
    length: float  # of the cavity
    radius: float  # widest, of the cavity
    wall: float
    ejection_fraction: float
    valve_motion: float  # of the mitral plane towards the apex
    rv_width: float  # from the septum to the free wall, at the base
    rv_span: float  # half the angle of the septum, at the base
    rv_turn: float  # how far its middle leans to the front
    rv_corners: tuple[float, float]  # how much they stick out, front and below
    rv_reach: float  # where the right ventricle ends, as a fraction of the left one
    rv_base: float  # its first level below the mitral plane
    endo_wave: np.ndarray  # (N, 3): amplitude, phase, turn towards the apex, for waves 2, 3, ...
    rv_wave: np.ndarray
    mesh: np.ndarray  # (M, 4): wave vector of the trabeculae along x, y and z in radians per mm, phase
    mesh_limit: float
    papillary: np.ndarray  # (2, 4): angle, size, first and last level as fractions
    rv_blood: float
    lv_blood: float
    myocardium: float
    fat: float  # thickness of epicardial fat in the grooves


def _draw_heart(rng: np.random.Generator, centre: tuple[float, float], length: float) -> _Heart:
    sick = rng.random() < 0.3
    turns = rng.uniform(0, 2 * np.pi, 12)
    pitch = 2 * np.pi / rng.uniform(5.5, 11, 12)
    papillary_angle = np.radians([115, -118]) + rng.normal(0, 0.2, 2)
    papillary_size, papillary_first, papillary_last = rng.uniform(
        [[3.4], [0.16], [0.6]], [[5.4], [0.34], [0.8]], (3, 2)
    )
    return _Heart(
        centre=centre,
        angle=float(np.radians(166 + np.clip(rng.normal(0, 20), -48, 48))),
        tilt=tuple(rng.normal(0, 0.05, 2).tolist()),
        length=length,
        radius=float(np.clip(rng.normal(27.5, 3.8), 20, 37)),
        wall=float(np.clip(rng.normal(8.3, 1.6), 5.5, 14)),
        ejection_fraction=rng.uniform(0.25, 0.5) if sick else rng.uniform(0.52, 0.68),
        valve_motion=rng.uniform(4, 8) if sick else rng.uniform(7, 13),
        rv_width=float(np.clip(rng.normal(39, 6), 27, 55)),
        rv_span=float(np.radians(rng.uniform(62, 80))),
        rv_turn=rng.uniform(-0.12, 0.2),
        rv_corners=(rng.uniform(0, 0.45), rng.uniform(0.05, 0.5)),
        rv_reach=rng.uniform(0.84, 0.99),
        rv_base=rng.uniform(-4, 8),
        endo_wave=_draw_waves(rng, 0.045, 0.8),
        rv_wave=_draw_waves(rng, 0.08, 1.2),
        mesh=np.stack(
            [pitch * np.cos(turns), pitch * np.sin(turns), rng.normal(0, 0.12, 12), rng.uniform(0, 6.3, 12)], 1
        ),
        mesh_limit=rng.uniform(1.2, 3.0),
        papillary=np.stack([papillary_angle, papillary_size, papillary_first, papillary_last], 1),
        rv_blood=rng.uniform(0.72, 1.0),
        lv_blood=rng.uniform(0.96, 1.06),
        myocardium=_MYOCARDIUM * rng.uniform(0.8, 1.2),
        fat=rng.uniform(2.0, 7.0),
    )


def _draw_waves(rng: np.random.Generator, size: float, turn: float) -> np.ndarray:
    falling = 1 / np.arange(1, 5)
    return np.stack([rng.normal(0, size, 4) * falling, rng.uniform(0, 2 * np.pi, 4), rng.normal(0, turn, 4)], 1)


def _wave(coefficients: np.ndarray, theta: np.ndarray, level: float) -> np.ndarray:
    """Sum of waves 2, 3, ... around a contour, slowly turning with ``level`` (0 base, 1 apex)."""
    return sum(a * np.cos((n + 2) * theta + p + t * level) for n, (a, p, t) in enumerate(coefficients.tolist()))


def _taper(level: float, end: float = 1.0, power: float = 2.6) -> float:
    return float(np.sqrt(max(0.0, 1 - min(1.0, max(0.0, level) / end) ** power)))


def _paint_heart(heart: _Heart, i: np.ndarray, j: np.ndarray, z: float, contraction: float):
    """The heart in one plane at ``z`` mm below the end-diastolic mitral plane.

    Returns ``inside``, ``water``, ``fat`` and ``label``, each of the shape of ``i`` and ``j`` broadcast (mm in the
    image plane).
    """
    tilt_i, tilt_j = heart.tilt
    di = i - heart.centre[0] - tilt_i * (z - heart.length / 2)
    dj = j - heart.centre[1] - tilt_j * (z - heart.length / 2)
    cos, sin = float(np.cos(heart.angle)), float(np.sin(heart.angle))
    x, y = di * cos + dj * sin, -di * sin + dj * cos  # x towards the right ventricle, y towards the front
    rho, theta = np.hypot(x, y), np.arctan2(y, x)

    # Left ventricle. The apex hardly moves, the valve plane comes down; muscle keeps its volume, so the wall thickens.
    valve = heart.valve_motion * contraction
    length = heart.length - valve
    level = (z - valve) / length
    volume = 1 - heart.ejection_fraction * contraction
    shrink = float(np.sqrt(volume * heart.length / length))
    basal = 1 - 0.06 * max(0.0, 1 - max(level, 0.0) / 0.25) ** 2
    contour = 1 + _wave(heart.endo_wave, theta, level)
    apex_wall = 0.75 * heart.wall
    epi_level = (z - valve) / (length + apex_wall)
    relaxed = heart.radius + heart.wall
    widest = float(np.sqrt((relaxed**2 - heart.radius**2) * heart.length / length + (heart.radius * shrink) ** 2))
    endo = heart.radius * shrink * basal * _taper(level) * contour
    epi = widest * basal * _taper(epi_level) * (1 + 0.5 * (contour - 1))
    in_lv = level >= 0
    cavity = (rho < endo) & in_lv & (level < 1)
    ventricle = (rho < np.maximum(epi, endo)) & in_lv & (epi_level < 1)

    # Right ventricle: a crescent on the septum, with a thin free wall; shorter and narrower towards the apex.
    rv_valve = heart.rv_base + 1.6 * valve
    rv_level = (z - rv_valve) / (heart.rv_reach * heart.length - rv_valve)
    rv_here = 0 <= rv_level < 1
    slim = _taper(rv_level, 1.0, 1.9) ** 1.5
    width = heart.rv_width * slim * (1 - 0.55 * heart.ejection_fraction * contraction)
    span = heart.rv_span * (0.55 + 0.45 * slim)
    lean = theta - heart.rv_turn
    lean = np.abs((lean + np.pi) % (2 * np.pi) - np.pi) / span
    # Two blunt corners, towards the outflow tract and over the diaphragm, keep the free wall from being an arc.
    front, below = (np.exp(-(((theta - corner) / 0.4) ** 2)) for corner in (0.75, -0.85))
    shape = 1 + _wave(heart.rv_wave, theta, rv_level) + heart.rv_corners[0] * slim * front + heart.rv_corners[1] * below
    crescent = np.clip(1 - lean**2, 0, None) ** 1.1 * shape
    rv_edge = epi + width * crescent
    rv = (rho < rv_edge) & ~ventricle & rv_here
    rv_wall = (rho < rv_edge + 2.8 * np.minimum(1, 3 * crescent)) & ~ventricle & rv_here

    water, fat, label = np.zeros_like(rho), np.zeros_like(rho), np.zeros(rho.shape, np.uint8)
    # Fat: a film over the left ventricle, thick in the grooves where the ventricles meet, some over the right one.
    groove = np.exp(-(((lean - 0.95) / 0.22) ** 2))
    film = 1.0 + heart.fat * (1.3 * groove + 0.35 * (lean < 0.95))
    outer = np.maximum(epi, rv_edge + 2.8) if rv_here else epi
    inside = (rho < outer + film) & (in_lv | rv_here) & (epi_level < 1.05)
    fat[inside] = 0.75
    if not (in_lv and rv_here):
        _paint_great_vessels(heart, x, y, in_lv, rv_here, z, inside, water, fat)

    water[rv_wall], fat[rv_wall] = heart.myocardium, 0
    water[rv] = heart.rv_blood
    water[ventricle], fat[ventricle] = heart.myocardium, 0
    label[rv], label[ventricle], label[cavity] = 1, 2, 3

    # Trabeculae: a mesh of muscle along the walls, denser towards the apex; it moves with the wall.
    blood = cavity.copy()
    rims = (
        (cavity, rho > endo * (0.86 - 0.2 * level), shrink, heart.mesh_limit),
        (rv, rho > rv_edge - (0.12 + 0.2 * max(rv_level, 0)) * width, 1.0, heart.mesh_limit + 0.8),
    )
    for chamber, rim, squeeze, limit in rims:
        spots = np.nonzero(chamber & rim)
        if spots[0].size:
            kx, ky, kz, offset = heart.mesh.T[:, :, None]
            mesh = np.cos((kx * x[spots] + ky * y[spots]) / squeeze + kz * z + offset).sum(0)
            strands = tuple(axis[mesh > limit] for axis in spots)
            blood[strands] = False
            water[strands] = heart.myocardium * 1.1
    for angle, size, first, last in heart.papillary.tolist():
        along = (level - first) / (last - first)
        if 0 < along < 1:
            swell = size * float(np.sin(np.pi * min(along * 0.75 + 0.12, 1.0))) ** 0.5 * (1 - 0.12 * contraction)
            out = max(float(endo.mean()) - swell * (1.7 - 1.2 * along), 0.0)
            c, s = float(np.cos(angle)), float(np.sin(angle))
            radial, across = x * c + y * s - out, y * c - x * s
            blood &= (radial / (1.15 * swell)) ** 2 + (across / (0.85 * swell)) ** 2 > 1
    water[blood] = heart.lv_blood
    return inside | rv_wall | (water > 0), water, fat, label


def _paint_great_vessels(heart, x, y, in_lv, rv_here, z, inside, water, fat) -> None:
    """Atria, aortic root and outflow tract above the valves: bright, not labelled. Changes the arrays."""
    r, height = heart.radius, heart.radius + 12
    parts = []
    if not rv_here and z < heart.length * 0.4:
        parts += [(r + 27, -0.35 * height, 22, 19, 0.95)]  # right atrium
        parts += [(r + 16, 0.8 * height, 16, 13, 0.9)]  # outflow tract
    if not in_lv:
        parts += [(-2, -0.5 * r, 1.15 * r, 0.85 * r, 0.95)]  # left atrium
        parts += [(0.55 * r, 0.45 * r, 14, 13.5, 1.05)]  # aortic root
    for cx, cy, a, b, _ in parts:
        inside |= ((x - cx) / (a + 6)) ** 2 + ((y - cy) / (b + 6)) ** 2 < 1
    fat[inside] = 0.55
    for cx, cy, a, b, brightness in parts:
        wall = ((x - cx) / (a + 2)) ** 2 + ((y - cy) / (b + 2)) ** 2 < 1
        water[wall], fat[wall] = 0.35, 0
        lumen = ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 < 1
        water[lumen] = brightness * heart.rv_blood


class _Canvas:
    """Water and fat of one plane, and a way to paint small ellipses without touching the rest of it."""

    def __init__(self, i: np.ndarray, j: np.ndarray):
        self.i, self.j = i, j
        self.water, self.fat = np.zeros((2, i.size, j.size), np.float32)

    def ellipse(self, i, j, a, b, *rings: tuple[float, float, float], turn: float = 0.0, within: np.ndarray) -> None:
        """Each ring is (squared size in semi-axes, water, fat); later ones lie on top. Paints only ``within``."""
        reach = max(a, b) * max(ring[0] for ring in rings) ** 0.5
        rows = slice(*np.searchsorted(self.i[:, 0], (i - reach, i + reach)))
        columns = slice(*np.searchsorted(self.j[0], (j - reach, j + reach)))
        di, dj = self.i[rows] - i, self.j[:, columns] - j
        cos, sin = np.cos(turn), np.sin(turn)
        distance = ((di * cos + dj * sin) / a) ** 2 + ((dj * cos - di * sin) / b) ** 2
        for size, water, fat in rings:
            here = (distance < size) & within[rows, columns]
            self.water[rows, columns][here] = water
            self.fat[rows, columns][here] = fat


def _torso_plan(rng: np.random.Generator, centre: tuple[float, float]) -> dict:
    """Everything random about the body, so that all slices agree on it. Offsets are from the heart's centre."""
    ci, cj = centre
    half_i, half_j = rng.uniform(118, 165), rng.uniform(105, 150)
    spine = (ci + rng.uniform(-45, 0), cj + rng.uniform(68, 88))
    return {
        "body": (ci + half_i - rng.uniform(115, 160), cj + half_j - rng.uniform(92, 122), half_i, half_j),
        "approach": rng.uniform([0.0, 0.1], [0.35, 0.4]),  # the chest wall comes nearer towards the apex
        "turn": rng.normal(0, 0.12),
        "wave": np.stack([rng.normal(0, 0.02, 4), rng.uniform(0, 2 * np.pi, 4), rng.normal(0, 0.6, 4)], 1),
        "fat": rng.uniform(8, 26),
        "fat_side": rng.uniform(0, 2 * np.pi),
        "muscle": rng.uniform(6, 12),
        "rib_phase": rng.uniform(0, 2 * np.pi),
        "spine": spine,
        "aorta": (spine[0] + rng.uniform(16, 30), spine[1] - rng.uniform(14, 24), rng.uniform(9, 13)),
        "dome": (ci - rng.uniform(70, 105), cj + rng.uniform(70, 95), rng.uniform(80, 105), rng.uniform(62, 85)),
        "left_dome": (ci + rng.uniform(20, 55), cj + rng.uniform(85, 115), rng.uniform(70, 95), rng.uniform(55, 78)),
        "rise": rng.uniform(0.1, 0.45),
        "liver": _LIVER * rng.uniform(0.8, 1.35),
        "stomach": (
            rng.uniform(10, 55),
            rng.uniform(62, 80),
            rng.uniform(20, 36),
            rng.uniform(14, 24),
            rng.uniform(0.05, 0.9),
        ),
        "bowel": np.stack(
            [rng.uniform(-60, 110, 9), rng.uniform(75, 150, 9), rng.uniform(7, 19, 9), rng.uniform(0.1, 1, 9)], 1
        ),
        "liver_vessels": rng.uniform([-150, 25, 1.5, -0.5], [-10, 140, 4.2, 0.5], (16, 4)),
        "lung_vessels": rng.uniform([-140, -95, 0.8, -0.8], [140, 90, 2.3, 0.8], (60, 4)),
    }


def _paint_torso(plan: dict, centre: tuple[float, float], i: np.ndarray, j: np.ndarray, z: float):
    """Chest and upper abdomen in one plane: ``water`` and ``fat``, of the broadcast shape of ``i`` and ``j``."""
    ci, cj = centre
    canvas = _Canvas(i, j)
    water, fat, paint = canvas.water, canvas.fat, canvas.ellipse

    # Skin, fat, muscle with ribs, lung: layers by depth under a rounded outline.
    bi, bj, half_i, half_j = plan["body"]
    bi, bj = bi + plan["approach"][0] * z, bj + plan["approach"][1] * z
    c, s = np.cos(plan["turn"]), np.sin(plan["turn"])
    u, v = (((i - bi) * c + (j - bj) * s) / half_i) ** 2, (((j - bj) * c - (i - bi) * s) / half_j) ** 2
    theta = np.arctan2(j - bj, i - bi)
    radius = (u * u + v * v + 1.4 * u * v) ** 0.25 / (1 + _wave(plan["wave"], theta, z / 100))
    depth = (1 - radius) * min(half_i, half_j)
    body = depth > 0
    fat[body] = 1.0
    fat[body & (depth < 1.5)] = 0.3
    under = depth - plan["fat"] * (1 + 0.5 * np.cos(theta - plan["fat_side"]))
    wall, muscle = under > 0, plan["muscle"]
    water[wall], fat[wall] = _MUSCLE, 0
    seam = wall & (np.abs(under - 0.5 * muscle) < 1)
    water[seam], fat[seam] = 0.1, 0.45
    rib = np.cos(13 * theta + plan["rib_phase"] + z * 0.09) - 0.3 * np.sin(4 * theta + plan["rib_phase"])
    bone = (under < muscle) & (under > 1.5) & (rib > 0.6)
    water[bone], fat[bone] = 0.02, 0
    marrow = (under < muscle - 1.5) & (under > 3) & (rib > 0.8)
    water[marrow], fat[marrow] = 0.05, 0.45
    cavity = under > muscle
    water[cavity] = _LUNG
    for oi, oj, size, slant in plan["lung_vessels"]:
        paint(ci + oi + slant * z, cj + oj + slant * z * 0.5, size, size * 1.3, (1, 0.5, 0), within=cavity)

    # Below the diaphragm, whose domes rise into the picture towards the apex: liver right, stomach and bowel left.
    rise, liver = plan["rise"] * z, plan["liver"]
    left = np.zeros_like(cavity)
    if z > 8:
        li, lj, la, lb = plan["left_dome"]
        left = (((i - li) / la) ** 2 + ((j - lj + rise) / lb) ** 2 < 1) & cavity
        water[left], fat[left] = 0.1, 0.38
    for oi, oj, size, brightness in plan["bowel"]:
        rings = (1.35, 0.3, 0), (1, brightness, 0)
        paint(ci + oi, cj + oj - 0.3 * rise, size * 1.2, size, *rings, turn=oi, within=left)
    oi, oj, a, b, brightness = plan["stomach"]
    paint(ci + oi, cj + oj - rise * 0.5, a, b, (1.3, 0.3, 0), (1, brightness, 0), turn=0.4, within=left)
    ri, rj, ra, rb = plan["dome"]
    right = (((i - ri - rise) / ra) ** 2 + ((j - rj + 0.5 * rise) / rb) ** 2 < 1) & cavity
    water[right], fat[right] = liver, 0
    for oi, oj, size, slant in plan["liver_vessels"]:
        paint(ci + oi + slant * z, cj + oj, size * 2.2, size, (1, liver * 1.9, 0), turn=slant * 3, within=right)

    # Back muscles, spine with its canal, descending aorta and inferior vena cava.
    si, sj = plan["spine"]
    paint(si, sj + 30, 62, 34, (1, _MUSCLE, 0), within=wall)
    paint(si - 24, sj + 32, 14, 1.5, (1, 0.05, 0.45), turn=0.5, within=wall)
    paint(si + 24, sj + 32, 14, 1.5, (1, 0.05, 0.45), turn=-0.5, within=wall)
    paint(si, sj, 21, 17, (1.25, 0.04, 0), (1, _BONE, 0), within=body)
    paint(si, sj + 25, 10, 8.5, (1.5, 0.05, 0), (1, 0.95, 0), (0.3, 0.42, 0), within=body)
    ai, aj, size = plan["aorta"]
    paint(ai + 0.05 * z, aj, size, size, (1.9, 0.08, 0.35), (1.2, 0.25, 0), (1, 1.05, 0), within=body)
    paint(ci - 48, cj + 52 + 0.1 * z, 12, 9, (1, 0.8, 0), turn=0.5, within=body)
    return water, fat


def _block_mean(fine: np.ndarray) -> np.ndarray:
    n = _OVERSAMPLING
    return fine.reshape(fine.shape[0] // n, n, fine.shape[1] // n, n).mean((1, 3))


def _phases(frames: int, phase: float | Sequence[float] | None) -> list[float]:
    if phase is None:
        return [float(t) for t in np.arange(frames) / frames]
    phases = [float(p) for p in np.atleast_1d(phase)]
    if len(phases) != frames:
        raise InputError(f"The phantom was asked for {frames} frames but given {len(phases)} phases; give as many.")
    return phases


def anatomical_affine(shape: Sequence[int], spacing: Sequence[float]) -> np.ndarray:
    """The affine that tells a viewer the truth about the phantom: i to the left, j to the back, k to the feet (LPI)."""
    affine = np.diag([-float(spacing[0]), -float(spacing[1]), -float(spacing[2]), 1.0])
    affine[:3, 3] = -0.5 * (np.asarray(shape[:3]) - 1) * np.diag(affine)[:3]
    return affine


def cine_phantom(
    seed: int = 0,
    shape: tuple[int, int, int] = (192, 192, 10),
    spacing: tuple[float, float, float] = (1.5, 1.5, 8.0),
    frames: int = 1,
    phase: float | Sequence[float] | None = None,
    affine: np.ndarray | None = None,
) -> PhantomVolume:
    """Draw a short-axis cine stack of a heart that nobody has, with its true labels.

    Args:
        seed: the patient; equal seeds give equal volumes, and the frames of one seed show one heart.
        shape: voxels (I, J, K); from about 128 x 128 mm in the plane on the heart is whole.
        spacing: mm per voxel along i, j, k.
        frames: pictures over the heart beat; 1 gives (I, J, K), more give (I, J, K, frames), starting at end-diastole.
        phase: 0..1 over the cycle, one per frame, instead of equal steps; 0 is end-diastole, see ``END_SYSTOLE``.
        affine: written through. None gives ``anatomical_affine``. (The ACDC copy with nominal headers stores its slices in
            the same order under ``diag(spacing)``, which takes left for right.)

    Raises:
        InputError: sizes that make no volume, or not one phase per frame.
    """
    sizes = np.asarray(shape)
    if sizes.shape != (3,) or (sizes < (16, 16, 1)).any() or not all(0 < s < np.inf for s in spacing) or frames < 1:
        raise InputError(f"A phantom of shape {shape}, spacing {spacing} mm and {frames} frames cannot be drawn.")
    phases = _phases(frames, phase)
    rng = np.random.default_rng([seed, 0])
    ni, nj, nk = (int(n) for n in shape)
    si, sj, sk = (float(s) for s in spacing)
    centre = (ni * si * 0.47 + rng.normal(0, 8), nj * sj * 0.49 + rng.normal(0, 8))
    # The stack starts around the mitral valve, mostly a little below, and ends near the apex of a heart of human size.
    first, beyond = rng.uniform(-0.3, 2.0) * min(sk, 10.0), rng.uniform(-0.5, 2.2) * min(sk, 10.0)
    length = float(np.clip(first + (nk - 1) * sk + beyond, 72, 110))
    if length > first + (nk + 2) * sk:  # too few slices for a heart: they lie across its middle
        first = 0.5 * (length - nk * sk) * rng.uniform(0.8, 1.2)
    levels = first + sk * np.arange(nk)
    heart = _draw_heart(rng, centre, length)
    plan = _torso_plan(rng, centre)
    shifts = rng.normal(0, 0.6, (nk, 2))  # each slice is its own breath-hold
    gain = rng.uniform(200, 900)
    noise = rng.uniform(0.005, 0.025)

    n = _OVERSAMPLING
    fine_i = ((np.arange(ni * n) + 0.5) * si / n).astype(np.float32)[:, None]
    fine_j = ((np.arange(nj * n) + 0.5) * sj / n).astype(np.float32)[None, :]
    window = tuple(
        slice(max(0, int((c - _HEART_REACH) / s)), max(1, min(size, int((c + _HEART_REACH) / s) + 1)))
        for c, s, size in zip(centre, (si, sj), (ni, nj))
    )
    fine_window = tuple(slice(w.start * n, w.stop * n) for w in window)

    shading = _coil_shading(rng, centre, fine_i[n // 2 :: n], fine_j[:, n // 2 :: n])
    flow = gaussian_filter(rng.standard_normal((ni, nj, nk), dtype=np.float32), (3.5, 3.5, 0))
    texture = gaussian_filter(rng.standard_normal((ni, nj, nk), dtype=np.float32), (0.8, 0.8, 0))
    shading = shading[..., None] * (1 + 0.04 * texture / texture.std() + 0.06 * flow / flow.std())
    signal = np.zeros((ni, nj, nk, frames), np.float32)
    labels = np.zeros((ni, nj, nk, frames), np.uint8)
    for k, z in enumerate(levels):
        i, j = fine_i - shifts[k, 0], fine_j - shifts[k, 1]
        water, fat = _paint_torso(plan, centre, i, j, z)
        static = np.abs(_block_mean(water) - _block_mean(fat))
        near_i, near_j = i[fine_window[0]], j[:, fine_window[1]]
        near_water, near_fat = water[fine_window], fat[fine_window]
        for t, beat in enumerate(phases):
            mixed, votes = 0, 0
            for offset in _THROUGH_PLANE:
                inside, w, f, label = _paint_heart(
                    heart, near_i, near_j, z + offset * sk, float(_CONTRACTION(beat % 1))
                )
                w, f = np.where(inside, w, near_water), np.where(inside, f, near_fat)
                mixed = mixed + _block_mean(w) - _block_mean(f)
                votes = votes + np.stack([_block_mean((label == value).astype(np.float32)) for value in (3, 2, 1, 0)])
            signal[..., k, t] = static
            signal[(*window, k, t)] = np.abs(mixed) / len(_THROUGH_PLANE)
            labels[(*window, k, t)] = 3 - votes.argmax(0)
    for t, beat in enumerate(phases):
        frame_rng = np.random.default_rng([seed, 1, round(beat % 1 * 1e6)])
        clean = gaussian_filter(signal[..., t], (0.45, 0.45, 0)) * shading
        one, two = frame_rng.standard_normal((2, *clean.shape), dtype=np.float32) * noise
        signal[..., t] = np.hypot(clean + one, two) * gain
    image = np.rint(signal).astype(np.int16)
    if frames == 1:
        image, labels = image[..., 0], labels[..., 0]
    header = anatomical_affine((ni, nj, nk), (si, sj, sk)) if affine is None else np.asarray(affine, np.float64)
    return PhantomVolume(image, labels, header)


def _coil_shading(rng, centre, i, j) -> np.ndarray:
    """Receive coils in front and behind: brighter near the chest wall; 1 at the heart."""
    ci, cj = centre
    front = np.exp(-(((i - ci - rng.normal(0, 40)) / 190) ** 2) - ((j - cj + 120) / rng.uniform(90, 140)) ** 2)
    behind = np.exp(-(((i - ci) / 190) ** 2) - ((j - cj - 150) / rng.uniform(90, 140)) ** 2)
    slope = rng.normal(0, 0.0008, 2)
    field = (
        0.8 + rng.uniform(0.5, 1.6) * front + rng.uniform(0.1, 0.5) * behind + slope[0] * (i - ci) + slope[1] * (j - cj)
    )
    at_heart = field[np.abs(i[:, 0] - ci).argmin(), np.abs(j[0] - cj).argmin()]
    return (np.clip(field, 0.3, None) / at_heart).astype(np.float32)
