"""Codes for what a segment is, and their text forms in Slicer and in our concept tables."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ConceptError

GENERAL_ANATOMY = "Segmentation category and type - 3D Slicer General Anatomy list"
ANATOMIC_MASTER = "Anatomic codes - DICOM master list"

_EMPTY_CODE = "^^"
_SEPARATORS = "^~|\r\n"  # ^ and ~ separate inside an entry, | separates entries in a segment's tags


@dataclass(frozen=True)
class Code:
    """One coded term, such as ``Code("SCT", "64033007", "Kidney")``.

    Raises
    ------
    ConceptError
        A part is empty or contains one of the separators ``^ ~ |``.
    """

    scheme: str
    value: str
    meaning: str

    def __post_init__(self) -> None:
        for part in (self.scheme, self.value, self.meaning):
            if not isinstance(part, str) or not part.strip() or any(character in part for character in _SEPARATORS):
                raise ConceptError(
                    f"'{self.scheme}^{self.value}^{self.meaning}' is not a code: write it as scheme^value^meaning, "
                    "for example SCT^64033007^Kidney."
                )

    def __str__(self) -> str:
        return f"{self.scheme}^{self.value}^{self.meaning}"

    @classmethod
    def parse(cls, text: str) -> Code | None:
        """``scheme^value^meaning`` to a code; nothing or ``^^`` to None. Raises ConceptError for anything else."""
        text = text.strip()
        if text in ("", _EMPTY_CODE):
            return None
        parts = text.split("^")
        if len(parts) != 3:
            raise ConceptError(
                f"'{text}' is not a code: write it as scheme^value^meaning, for example SCT^64033007^Kidney."
            )
        return cls(*(part.strip() for part in parts))


@dataclass(frozen=True)
class Terminology:
    """What a segment is: a category, a type in it, and mostly a side.

    ``context`` names the list that the codes are from; the three ``region`` fields are kept so that an entry that was
    made in Slicer survives the way through our tables.
    """

    category: Code
    type: Code
    type_modifier: Code | None = None
    context: str = GENERAL_ANATOMY
    region_context: str = ANATOMIC_MASTER
    region: Code | None = None
    region_modifier: Code | None = None

    def __post_init__(self) -> None:
        for part in (self.category, self.type):
            _required(part)
        for name in (self.context, self.region_context):
            if any(character in name for character in _SEPARATORS):
                raise ConceptError(f"'{name}' cannot name a terminology: it contains one of ^ ~ | or a line break.")

    def to_entry(self) -> str:
        """Slicer's serialised entry: ``context~category~type~modifier~regionContext~region~regionModifier``."""
        codes = [self.category, self.type, self.type_modifier, self.region, self.region_modifier]
        category, kind, modifier, region, region_modifier = (_EMPTY_CODE if c is None else str(c) for c in codes)
        return "~".join((self.context, category, kind, modifier, self.region_context, region, region_modifier))

    def to_short(self) -> str:
        """``category~type[~modifier]``, or the whole entry where the short form would lose something."""
        codes = (self.category, self.type, self.type_modifier)
        short = "~".join(str(code) for code in codes if code is not None)
        return short if Terminology.parse(short) == self else self.to_entry()

    @classmethod
    def from_entry(cls, entry: str) -> Terminology:
        """Reads Slicer's serialised entry (seven fields). Raises ConceptError if it is none."""
        fields = entry.split("~")
        if len(fields) != 7:
            raise ConceptError(f"'{entry}' is not a terminology entry of Slicer: it has {len(fields)} fields, not 7.")
        context, category, kind, modifier, region_context, region, region_modifier = fields
        codes = [Code.parse(text) for text in (category, kind, modifier, region, region_modifier)]
        return cls(_required(codes[0]), _required(codes[1]), codes[2], context, region_context, codes[3], codes[4])

    @classmethod
    def parse(cls, text: str) -> Terminology | None:
        """Reads the short form of two or three codes or Slicer's whole entry; nothing gives None.

        Raises ConceptError, with the form that is wanted, for anything else.
        """
        text = text.strip()
        if not text:
            return None
        fields = text.split("~")
        if len(fields) == 7:
            return cls.from_entry(text)
        if len(fields) not in (2, 3):
            raise ConceptError(
                f"'{text}' is not a terminology: write category~type or category~type~modifier, for example "
                "SCT^123037004^Anatomical Structure~SCT^64033007^Kidney~SCT^7771000^Left."
            )
        codes = [Code.parse(field) for field in fields]
        return cls(_required(codes[0]), _required(codes[1]), codes[2] if len(codes) == 3 else None)


def _required(code: Code | None) -> Code:
    if not isinstance(code, Code):
        raise ConceptError(
            "A terminology needs a category and a type, for example "
            "SCT^123037004^Anatomical Structure~SCT^64033007^Kidney."
        )
    return code
