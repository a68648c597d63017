"""Segment ids: made from the class name alone, so that every run gives a class the same id."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from ..concepts import fold_name

_DIGEST_LENGTH = 8


def segment_id(name: str) -> str:
    """An ASCII id for a class name, e.g. ``"Right ventricle"`` -> ``"right_ventricle"``.

    Names that differ in more than case and white space get different ids, whatever else is in their set: where letters
    are lost on the way to ASCII (``"prostate/uterus"``, ``"左心室"``), a digest of the name is appended. So the id does
    not depend on which other classes were asked for.
    """
    folded = fold_name(name)
    ascii_only = unicodedata.normalize("NFKD", folded).encode("ascii", "ignore").decode("ascii")
    slug = re.sub(r"[^a-z0-9]+", "_", ascii_only).strip("_")
    if slug.replace("_", " ") == folded:
        return slug
    digest = hashlib.sha256(folded.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    return f"{slug or 'segment'}_{digest}"
