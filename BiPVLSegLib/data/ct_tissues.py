"""Tissues of an abdominal CT: label values and the Hounsfield units (HU) that images are drawn from.

Values 1-15 are AMOS's organs. What lies inside an organ but looks different (vessels of the liver, gas of the stomach)
has a value of its own that counts as that organ; the rest of the body has values that are no structure's.

HU are round ranges around generally known figures: unenhanced organs after Lamba et al., "CT Hounsfield numbers of soft
tissues on unenhanced abdominal CT scans", AJR 203:1013 (2014); the order of enhancement in the phases after Bae,
"Intravenous contrast medium administration and scan timing at CT", Radiology 256:32 (2010). They are wider than healthy
patients need: fatty livers, early and late scans and other tube voltages are meant to lie within.
"""

from __future__ import annotations

from typing import NamedTuple

(
    SPLEEN, RIGHT_KIDNEY, LEFT_KIDNEY, GALLBLADDER, OESOPHAGUS, LIVER, STOMACH, AORTA, VENA_CAVA, PANCREAS,
    RIGHT_ADRENAL, LEFT_ADRENAL, DUODENUM, BLADDER, PROSTATE_UTERUS,
) = range(1, 16)  # fmt: skip
LIVER_VESSEL, LIVER_LESION, LIVER_LESION_2, SPLEEN_LESION = 16, 17, 18, 19
RIGHT_MEDULLA, LEFT_MEDULLA, RIGHT_CYST, LEFT_CYST = 20, 21, 22, 23
STOMACH_CONTENT, STOMACH_GAS, DUODENUM_CONTENT, BLADDER_WALL, GALLSTONE = 24, 25, 26, 27, 28

AIR = 0
(
    SKIN, FAT, DEEP_FAT, MUSCLE, SPONGY_BONE, BONE, DISC, CARTILAGE, CANAL, LUNG, LUNG_VESSEL, EFFUSION, MYOCARDIUM,
    HEART_BLOOD, ARTERY, VEIN, BOWEL_WALL, BOWEL_FLUID, BOWEL_GAS, BOWEL_CONTRAST, FAECES, BOWEL_SOLID, MASS, MASS_2,
    TABLE, TABLE_CORE,
) = range(40, 66)  # fmt: skip

NAMES = {
    SPLEEN: "Spleen", RIGHT_KIDNEY: "Right kidney", LEFT_KIDNEY: "Left kidney", GALLBLADDER: "Gallbladder",
    OESOPHAGUS: "Oesophagus", LIVER: "Liver", STOMACH: "Stomach", AORTA: "Aorta", VENA_CAVA: "Inferior vena cava",
    PANCREAS: "Pancreas", RIGHT_ADRENAL: "Right adrenal gland", LEFT_ADRENAL: "Left adrenal gland",
    DUODENUM: "Duodenum", BLADDER: "Bladder", PROSTATE_UTERUS: "Prostate/uterus",
}  # fmt: skip
"""AMOS numbers -> names in the concept set ``abdomen-ct``."""

PARTS = {
    LIVER: (LIVER_VESSEL, LIVER_LESION, LIVER_LESION_2),
    SPLEEN: (SPLEEN_LESION,),
    RIGHT_KIDNEY: (RIGHT_MEDULLA, RIGHT_CYST),
    LEFT_KIDNEY: (LEFT_MEDULLA, LEFT_CYST),
    STOMACH: (STOMACH_CONTENT, STOMACH_GAS),
    DUODENUM: (DUODENUM_CONTENT,),
    BLADDER: (BLADDER_WALL,),
    GALLBLADDER: (GALLSTONE,),
}
"""Values that count as an organ beside its own."""

BACKGROUND = (-1010, -980)  # of air around the body


class _CT(NamedTuple):
    values: tuple[int, ...]
    any_phase: tuple[float, float]
    std: tuple[float, float] = (2, 14)
    native: tuple[float, float] | None = None
    arterial: tuple[float, float] | None = None
    portal: tuple[float, float] | None = None


_TISSUES = (
    _CT((LIVER,), (20, 170), (2, 16), (35, 70), (60, 105), (85, 155)),
    _CT((LIVER_VESSEL,), (20, 220), native=(25, 45), arterial=(60, 150), portal=(130, 220)),
    _CT((LIVER_LESION,), (-10, 60), native=(-5, 45), arterial=(0, 60), portal=(0, 75)),
    _CT((LIVER_LESION_2, SPLEEN_LESION), (0, 220), native=(10, 60), arterial=(60, 200), portal=(40, 180)),
    _CT((SPLEEN,), (30, 180), (2, 16), (38, 58), (90, 170), (100, 160)),
    _CT((RIGHT_KIDNEY, LEFT_KIDNEY), (20, 260), (2, 18), (22, 42), (120, 240), (140, 240)),
    _CT((RIGHT_MEDULLA, LEFT_MEDULLA), (10, 250), (2, 18), (18, 40), (40, 120), (110, 220)),
    _CT((RIGHT_CYST, LEFT_CYST), (-10, 60), native=(-5, 20), arterial=(-5, 30), portal=(-5, 35)),
    _CT((GALLBLADDER,), (-10, 60), native=(-5, 25), arterial=(-5, 25), portal=(-5, 25)),
    _CT((GALLSTONE,), (-30, 400)),
    _CT((OESOPHAGUS,), (15, 110), (5, 25), (25, 50), (40, 100), (40, 100)),
    _CT((STOMACH,), (20, 150), native=(25, 50), arterial=(50, 130), portal=(60, 130)),
    _CT((STOMACH_CONTENT,), (-20, 300), (3, 40), (-10, 60), (-10, 60), (-10, 60)),
    _CT((STOMACH_GAS, BOWEL_GAS), (-1000, -800), (5, 40)),
    _CT((AORTA, ARTERY), (25, 450), native=(30, 52), arterial=(200, 450), portal=(120, 210)),
    _CT((VENA_CAVA, VEIN), (25, 250), native=(28, 50), arterial=(40, 160), portal=(100, 200)),
    _CT((PANCREAS,), (15, 150), (3, 20), (20, 48), (70, 130), (65, 125)),
    _CT((RIGHT_ADRENAL, LEFT_ADRENAL), (0, 130), (2, 14), (5, 40), (50, 110), (50, 100)),
    _CT((DUODENUM, BOWEL_WALL), (15, 160), (3, 20), (25, 50), (50, 140), (60, 130)),
    _CT((DUODENUM_CONTENT, BOWEL_FLUID), (-10, 70), (3, 30)),
    _CT((BLADDER,), (-10, 60), native=(-8, 20), arterial=(-8, 20), portal=(-8, 30)),
    _CT((BLADDER_WALL,), (15, 100), native=(20, 45), arterial=(30, 80), portal=(40, 90)),
    _CT((PROSTATE_UTERUS,), (20, 150), (3, 20), (28, 55), (40, 110), (60, 140)),
    _CT((SKIN,), (-30, 60), (5, 30)),
    _CT((FAT,), (-120, -80)),
    _CT((DEEP_FAT,), (-120, -70), (3, 22)),
    _CT((MUSCLE, MYOCARDIUM), (25, 90), (3, 20), (35, 62), (45, 75), (50, 85)),
    _CT((SPONGY_BONE,), (80, 250), (10, 60)),
    _CT((BONE,), (280, 1000), (30, 200)),
    _CT((DISC,), (50, 120), (3, 15)),
    _CT((CARTILAGE,), (60, 160), (5, 60)),
    _CT((CANAL,), (0, 45), (3, 15)),
    _CT((LUNG,), (-930, -650), (10, 60)),
    _CT((LUNG_VESSEL,), (-500, 50), (20, 120)),
    _CT((EFFUSION,), (-5, 70), (2, 15)),
    _CT((HEART_BLOOD,), (25, 400), (3, 20), (30, 50), (150, 350), (110, 190)),
    _CT((BOWEL_CONTRAST,), (80, 500), (5, 60)),
    _CT((FAECES,), (-200, 80), (60, 250)),
    _CT((BOWEL_SOLID,), (20, 150), (5, 25), (25, 55), (40, 120), (50, 130)),
    _CT((MASS,), (-10, 180), (2, 18)),
    _CT((MASS_2,), (20, 170), (2, 18), (25, 65), (50, 110), (80, 150)),
    _CT((TABLE,), (-300, 300), (5, 60)),
    _CT((TABLE_CORE,), (-990, -880), (2, 10)),
)
PHASES = ("native", "arterial", "portal")


def synthesis() -> dict:
    """The ``"synthesis"`` block of a dataset.json for label maps with these values."""
    tissues = []
    for tissue in _TISSUES:
        phases = {name: list(pair) for name in PHASES if (pair := getattr(tissue, name)) is not None}
        entry = {"values": list(tissue.values), "mean": list(tissue.any_phase), "std": list(tissue.std)}
        tissues.append(entry | ({"contrasts": phases} if phases else {}))
    return {"tissues": tissues, "background": list(BACKGROUND)}
