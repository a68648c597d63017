"""How parameters are kept in a ``vtkMRMLScriptedModuleNode``: the same names and texts as in Slicer.

A scene saved with this stand-in therefore opens in Slicer, and the other way round. Each storage has ``is_in``, ``write``,
``read``, ``remove`` and ``default``; ``storage_for`` finds the one for an annotated type and raises for a type that this
stand-in does not know, so that nothing is tested with a guess of how Slicer would have stored it.
"""

from __future__ import annotations

import collections.abc
import enum
import typing
from dataclasses import dataclass
from typing import Any

import slicer
import slicer.util


class Validator:
    """Refuses values; the public rules below are the annotations of ``slicer.parameterNodeWrapper``."""

    def validate(self, value) -> None:
        raise NotImplementedError


class NotNone(Validator):
    def validate(self, value) -> None:
        if value is None:
            raise ValueError("None is not a value of this parameter")


@dataclass
class IsInstance(Validator):
    """Lets None pass, as in Slicer; ``NotNone`` is the rule that refuses it."""

    classtype: Any

    def validate(self, value) -> None:
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"expected {self.classtype}, got {value!r} of {type(value)}")


@dataclass
class WithinRange(Validator):
    minimum: float
    maximum: float

    def validate(self, value) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not between {self.minimum} and {self.maximum}")


@dataclass
class Minimum(Validator):
    minimum: float

    def validate(self, value) -> None:
        if value < self.minimum:
            raise ValueError(f"{value} is less than {self.minimum}")


@dataclass
class Maximum(Validator):
    maximum: float

    def validate(self, value) -> None:
        if value > self.maximum:
            raise ValueError(f"{value} is more than {self.maximum}")


@dataclass
class Choice(Validator):
    choices: typing.Sequence

    def validate(self, value) -> None:
        if value not in self.choices:
            raise ValueError(f"{value!r} is none of {self.choices}")


@dataclass
class Default:
    """``Annotated[int, Default(3)]``: the value of a parameter that was never set."""

    value: Any


class _Text:
    """str, and the base of what is kept as one text under the parameter's own name."""

    default: Any = ""

    def is_in(self, node, name: str) -> bool:
        return node.HasParameter(name)

    def write(self, node, name: str, value) -> None:
        node.SetParameter(name, self.to_text(value))

    def read(self, node, name: str):
        return self.from_text(node.GetParameter(name))

    def remove(self, node, name: str) -> None:
        node.UnsetParameter(name)

    def to_text(self, value) -> str:
        return str(value)

    def from_text(self, text: str):
        return text


class _Number(_Text):
    default = 0

    def __init__(self, type_: type) -> None:
        self.from_text = type_


class _Bool(_Text):
    default = False

    def from_text(self, text: str) -> bool:
        return text == "True"

    def to_text(self, value) -> str:
        return "True" if value else "False"


class _Enum(_Text):
    """Kept by the member's name, so that renaming a member breaks old scenes: as in Slicer."""

    def __init__(self, type_: type[enum.Enum]) -> None:
        self.type = type_
        self.default = next(iter(type_))

    def to_text(self, value) -> str:
        return value.name

    def from_text(self, text: str):
        if text not in self.type.__members__:
            raise ValueError(f"the parameter node holds {text!r}, which is no name in {self.type}")
        return self.type[text]


class _Node(_Text):
    """A node reference, beside an empty text that says that the parameter was set (None is a value too)."""

    default = None

    def write(self, node, name: str, value) -> None:
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node, name: str):
        return node.GetNodeReference(name)

    def remove(self, node, name: str) -> None:
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class _List:
    """``<name>_len`` and ``<name>_0``, ``<name>_1``, ..."""

    def __init__(self, element: Storage) -> None:
        self.element = element

    @property
    def default(self) -> list:
        return []

    def is_in(self, node, name: str) -> bool:
        return node.HasParameter(f"{name}_len")

    def _length(self, node, name: str) -> int:
        return int(node.GetParameter(f"{name}_len")) if self.is_in(node, name) else 0

    def write(self, node, name: str, values) -> None:
        before = self._length(node, name)
        for value in values:
            self.element.validate(value)
        with slicer.util.NodeModify(node):
            for index, value in enumerate(values):
                self.element.write(node, f"{name}_{index}", value)
            node.SetParameter(f"{name}_len", str(len(values)))
            for index in range(len(values), before):
                self.element.remove(node, f"{name}_{index}")

    def read(self, node, name: str) -> ObservedList:
        values = [self.element.read(node, f"{name}_{index}") for index in range(self._length(node, name))]
        return ObservedList(values, lambda changed: self.write(node, name, changed))

    def remove(self, node, name: str) -> None:
        with slicer.util.NodeModify(node):
            for index in range(self._length(node, name)):
                self.element.remove(node, f"{name}_{index}")
            node.UnsetParameter(f"{name}_len")


class ObservedList(collections.abc.MutableSequence):
    """A list that writes itself to the parameter node with every change; ``+`` and ``*`` are refused, as in Slicer."""

    def __init__(self, values: list, save) -> None:
        self._values, self._save = values, save

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index):
        return self._values[index]

    def __setitem__(self, index, value) -> None:
        self._values[index] = value
        self._save(self._values)

    def __delitem__(self, index) -> None:
        del self._values[index]
        self._save(self._values)

    def insert(self, index, value) -> None:
        self._values.insert(index, value)
        self._save(self._values)

    def __eq__(self, other) -> bool:
        return self._values == (other._values if isinstance(other, ObservedList) else other)

    def __repr__(self) -> str:
        return f"ObservedList({self._values})"

    def _refuse(self, _other):
        raise NotImplementedError("Slicer's observed lists know += and *= only")

    __add__ = __radd__ = __mul__ = __rmul__ = _refuse


class Storage:
    """One storage with the rules that a value has to pass before it is written."""

    def __init__(self, inner, validators: list[Validator]) -> None:
        self.inner, self.validators = inner, validators

    @property
    def default(self):
        return self.inner.default

    def validate(self, value) -> None:
        for validator in self.validators:
            validator.validate(value)

    def is_in(self, node, name: str) -> bool:
        return self.inner.is_in(node, name)

    def read(self, node, name: str):
        return self.inner.read(node, name)

    def remove(self, node, name: str) -> None:
        self.inner.remove(node, name)

    def write(self, node, name: str, value) -> None:
        self.validate(value)
        self.inner.write(node, name, value)


def split_annotations(annotated) -> tuple[Any, list]:
    """The bare type and its annotations: ``Annotated[int, Minimum(0)]`` -> ``int, [Minimum(0)]``."""
    if typing.get_origin(annotated) is typing.Annotated:
        bare, *annotations = typing.get_args(annotated)
        return bare, annotations
    return annotated, []


def storage_for(annotated) -> Storage:
    """Raises TypeError for a type that this stand-in does not know."""
    bare, annotations = split_annotations(annotated)
    given = [x for x in annotations if isinstance(x, Validator)]
    if bare in (int, float):
        kinds = (int, float) if bare is float else int
        return Storage(_Number(bare), [NotNone(), IsInstance(kinds), *given])
    if bare is str:
        return Storage(_Text(), [NotNone(), IsInstance(str), *given])
    if bare is bool:
        return Storage(_Bool(), [NotNone(), IsInstance(bool), *given])
    if typing.get_origin(bare) is list:
        return Storage(_List(storage_for(typing.get_args(bare)[0])), given)
    if isinstance(bare, type) and issubclass(bare, enum.Enum):
        return Storage(_Enum(bare), [IsInstance(bare), *given])
    if isinstance(bare, type) and issubclass(bare, slicer.vtkMRMLNode):
        return Storage(_Node(), [IsInstance(bare), *given])
    raise TypeError(f"no stand-in for a parameter of type {bare}; see Slicer's serializers before adding one")
