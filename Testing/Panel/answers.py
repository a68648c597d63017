"""Answers to the panel's modal dialogs, given by the test before the panel asks, and what the dialogs said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

QUESTIONS = ("openFile", "saveFile", "chooseFolder", "confirm")
MESSAGES = ("error", "showText")


@dataclass
class Shown:
    """One dialog: its method and arguments."""

    method: str
    arguments: tuple

    @property
    def text(self) -> str:
        return " ".join(str(argument) for argument in self.arguments)


class Answers:
    """Takes the place of the methods of ``BiPVLSegPanel.dialogs.Dialogs``.

    A question without an answer fails the test, and so does an error message that the test does not ask for.
    """

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self._answers: dict[str, list[Any]] = {name: [] for name in QUESTIONS}
        self._errors: list[Shown] = []

    def give(self, method: str, answer: Any) -> None:
        """The next question of this kind gets this answer: a path, "" for cancelled, True or False for confirm."""
        self._answers[method].append(answer)

    def take_errors(self) -> list[str]:
        """Texts of the error messages since the last call; the test has seen them."""
        texts = [shown.text for shown in self._errors]
        self._errors.clear()
        return texts

    def replace(self, dialogs_class: type, monkeypatch) -> None:
        for name in QUESTIONS + MESSAGES:
            if not callable(getattr(dialogs_class, name, None)):
                raise AttributeError(f"Dialogs.{name} does not exist")
            monkeypatch.setattr(dialogs_class, name, self._make_method(name))

    def _make_method(self, name: str):
        def method(_self, *arguments, **keywords):
            shown = Shown(name, (*arguments, *keywords.values()))
            self.shown.append(shown)
            if name == "error":
                self._errors.append(shown)
            if name in MESSAGES:
                return None
            if not self._answers[name]:
                raise AssertionError(f"the panel asks {name}: {shown.text}; the test gave no answer")
            return self._answers[name].pop(0)

        return method

    def check_all_used(self) -> None:
        left = {name: answers for name, answers in self._answers.items() if answers}
        assert not left, f"the panel did not ask: {left}"
        assert not self._errors, f"error messages that the test did not expect: {[s.text for s in self._errors]}"
