"""One class of a segmentation, described in words: a title and the five concepts of BiPVL-Seg."""

from __future__ import annotations

import operator
import unicodedata
from dataclasses import dataclass

from ..errors import ConceptError
from .terminology import Terminology

CONCEPT_FIELDS = ("shape", "location", "appearance", "contour", "texture")
TEXT_FIELDS = ("title", *CONCEPT_FIELDS)


def fold_name(name: str) -> str:
    """The form in which names are compared: case, runs of white space, signs without a width and the way in which a letter has
    got its accent make no difference."""
    if not name.isascii():
        name = "".join(sign for sign in unicodedata.normalize("NFC", name) if unicodedata.category(sign) != "Cf")
    return " ".join(name.split()).casefold()


@dataclass(frozen=True)
class Concept:
    """One row of a concept table (arXiv 2503.23534, section 3.1: K = 5 visually checkable concepts per class).

    ``name`` is what the user sees, ``title`` reads "X in a Y image". ``color`` is (red, green, blue), 0 to 255 each.
    ``label`` is the value of the class in reference data, 1 or more. Texts are stored without surrounding white space.

    Raises
    ------
    ConceptError
        The name is empty, no text is given at all, the colour is out of range or the label is not above 0.

    Examples
    --------
    >>> Concept("spleen", "Spleen in an abdominal CT image", shape="Curved wedge.").texts[:2]
    ('Spleen in an abdominal CT image', 'Curved wedge.')
    """

    name: str
    title: str
    shape: str = ""
    location: str = ""
    appearance: str = ""
    contour: str = ""
    texture: str = ""
    color: tuple[int, int, int] | None = None
    terminology: Terminology | None = None
    enabled: bool = True
    label: int | None = None

    def __post_init__(self) -> None:
        for field in ("name", *TEXT_FIELDS):
            value = getattr(self, field)
            if not isinstance(value, str):
                raise ConceptError(f"The {field} of a concept must be text, not {value!r}.")
            if "\0" in value:
                raise ConceptError(f"The {field} of '{self.name}' contains a zero byte; type it in again.")
            if value != value.encode("utf-8", "replace").decode("utf-8"):
                raise ConceptError(
                    f"The {field} of {self.name!r} contains half a character (of an emoji?); type it in again."
                )
            object.__setattr__(self, field, value.strip())
        if not fold_name(self.name):
            raise ConceptError("A concept has no name; give it one.")
        if not any(self.texts):
            raise ConceptError(f"'{self.name}' has no text at all; fill in a title or at least one concept.")
        if self.terminology is not None and not isinstance(self.terminology, Terminology):
            raise ConceptError(f"The terminology of '{self.name}' must be a Terminology, not {self.terminology!r}.")
        if not isinstance(self.enabled, bool):
            raise ConceptError(f"'{self.name}' must be enabled or not, True or False, not {self.enabled!r}.")
        object.__setattr__(self, "color", self._checked_color())
        object.__setattr__(self, "label", self._checked_label())

    @property
    def texts(self) -> tuple[str, ...]:
        """Title, shape, location, appearance, contour, texture, in this order."""
        return tuple(getattr(self, field) for field in TEXT_FIELDS)

    def _checked_color(self) -> tuple[int, int, int] | None:
        if self.color is None:
            return None
        try:
            color = tuple(operator.index(part) for part in self.color)
        except TypeError:
            color = ()
        if len(color) != 3 or not all(0 <= part <= 255 for part in color):
            raise ConceptError(
                f"The colour of '{self.name}' is {self.color!r}; give red, green and blue as whole numbers of 0 to 255."
            )
        return color

    def _checked_label(self) -> int | None:
        if self.label is None:
            return None
        try:
            label = operator.index(self.label)
        except TypeError:
            label = 0
        if isinstance(self.label, bool) or label < 1:
            raise ConceptError(
                f"The label of '{self.name}' is {self.label!r}; give a whole number of 1 or more (0 is background)."
            )
        return label
