"""Stand-in of ``slicer.i18n``. A test may set ``translation``; then untranslated texts and wrong placeholders show.

As in Slicer, a translation is used only if it has the same ``{placeholders}`` as the text; what is translated must be a
plain text known before the program runs, so an f-string's result is not noticed here but by the check of the sources.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable

import slicer

from .strict import StrictModule

translation: Callable[[str], str] | None = (
    None  # e.g. lambda text: text.upper(), which leaves {names} broken on purpose
)
_PLACEHOLDER = re.compile(r"(?<!\{)\{([^{}]+)\}(?!\})")


def translate(context: str, text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"only texts can be translated, not {text!r}")
    return translation(text) if translation else text


def tr(text: str) -> str:
    translated = translate("", text)
    if set(_PLACEHOLDER.findall(text)) != set(_PLACEHOLDER.findall(translated)):
        logging.warning("translation %r of %r has other placeholders", translated, text)
        return text
    return translated


def install() -> None:
    slicer.i18n = sys.modules["slicer.i18n"] = StrictModule("slicer.i18n", tr=tr, translate=translate)
