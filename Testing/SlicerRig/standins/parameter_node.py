"""Stand-in of ``slicer.parameterNodeWrapper``: typed attributes over a real ``vtkMRMLScriptedModuleNode``.

It follows Slicer in what bites: a wrapper writes all defaults into the node when it is made; values are read once and
then renewed when the node reports a change; writing goes through the rules of the type; connecting a widget overwrites it
with the parameter's value. Types and widgets without a stand-in raise.
"""

from __future__ import annotations

import logging
import sys
import typing
import weakref
from collections.abc import Callable

import slicer
import slicer.util
import vtk

from . import parameter_types as types_
from .strict import StrictModule

PROPERTY = "SlicerParameterName"


class _Parameter:
    """The value of one parameter in one node, kept until the node changes."""

    def __init__(self, node, name: str, storage: types_.Storage, default) -> None:
        self.node, self.name, self.storage, self.default = node, name, storage, default
        self.writing = False
        if not storage.is_in(node, name):
            storage.write(node, name, default)
        self.value = storage.read(node, name)
        reference = weakref.ref(self)

        def modified(_node, _event) -> None:
            parameter = reference()
            if parameter is not None and not parameter.writing:
                parameter.renew()

        self.tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, modified)

    def __del__(self) -> None:
        if hasattr(self, "tag"):
            self.node.RemoveObserver(self.tag)

    def renew(self) -> None:
        if not self.storage.is_in(self.node, self.name):
            self.storage.write(self.node, self.name, self.default)
        self.value = self.storage.read(self.node, self.name)

    def write(self, value) -> None:
        self.writing = True
        try:
            with slicer.util.NodeModify(self.node):  # so that observers already find the new value
                self.storage.write(self.node, self.name, value)
                self.value = self.storage.read(self.node, self.name)
        finally:
            self.writing = False


def parameterNodeWrapper(classtype: type | None = None):
    """Class decorator, with or without parentheses."""
    return _wrap if classtype is None else _wrap(classtype)


def _wrap(classtype: type) -> type:
    hints = typing.get_type_hints(classtype, include_extras=True)
    parameters = {name: _describe(classtype, name, hint) for name, hint in hints.items()}
    taken = [name for name in ("allParameters", *_METHODS) if hasattr(classtype, name)]
    if taken:
        raise ValueError(f"{classtype.__name__} uses names of Slicer's parameter node wrapper: {taken}")
    for name in parameters:
        setattr(classtype, name, _make_property(name))
    classtype.allParameters = parameters
    classtype._is_parameter_node_wrapper = True
    classtype.__init__ = _init
    for name, method in _METHODS.items():
        setattr(classtype, name, method)
    return classtype


def _describe(classtype: type, name: str, hint) -> tuple[types_.Storage, object, object]:
    storage = types_.storage_for(hint)
    annotations = types_.split_annotations(hint)[1]
    unused = [x for x in annotations if not isinstance(x, types_.Validator | types_.Default)]
    if unused:
        logging.warning("%s.%s: annotations without effect: %s", classtype.__name__, name, unused)
    given = [x for x in annotations if isinstance(x, types_.Default)]
    if hasattr(classtype, name):
        default = getattr(classtype, name)
    else:
        default = given[0].value if given else storage.default
    return storage, default, hint


def _make_property(name: str) -> property:
    return property(lambda self: self._values[name].value, lambda self, value: self._values[name].write(value))


def _init(self, parameterNode, prefix: str | None = None) -> None:
    self.parameterNode = parameterNode
    self._connections: dict[int, dict] = {}
    self._next_connection = 0
    self._updating_gui = False
    self._values = {
        name: _Parameter(parameterNode, f"{prefix or ''}{name}", storage, default)
        for name, (storage, default, _hint) in self.allParameters.items()
    }


def _check(self, name: str) -> None:
    if name not in self.allParameters:
        raise ValueError(f"no parameter {name!r}; there are {list(self.allParameters)}")


def _get_value(self, name: str):
    _check(self, name)
    return self._values[name].value


def _set_value(self, name: str, value) -> None:
    _check(self, name)
    self._values[name].write(value)


def _default(self, name: str) -> types_.Default:
    _check(self, name)
    return types_.Default(self.allParameters[name][1])


def _data_type(self, name: str):
    _check(self, name)
    return self.allParameters[name][2]


def _connect_gui(self, gui) -> int:
    """``gui`` is a widget, whose children are searched, or what ``slicer.util.childWidgetVariables`` returns."""
    import qt

    widgets = gui.findChildren(qt.QWidget) if isinstance(gui, qt.QWidget) else list(vars(gui).values())
    named = {widget.property(PROPERTY): widget for widget in widgets if widget.property(PROPERTY)}
    return _connect_parameters_to_gui(self, named)


def _connect_parameters_to_gui(self, mapping: dict) -> int:
    from .parameter_widgets import connector_for

    for name in mapping:
        _check(self, name)
    connectors = {name: connector_for(widget, self.allParameters[name][2]) for name, widget in mapping.items()}
    tag, self._next_connection = self._next_connection, self._next_connection + 1
    self._connections[tag] = connectors
    for name, connector in connectors.items():
        connector.write(_get_value(self, name))
        connector.on_changed(_gui_changed(self, name, connector))
    self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda _node, _event: _update_gui(self))
    return tag


def _gui_changed(self, name: str, connector) -> Callable[[], None]:
    def changed() -> None:
        if not self._updating_gui:
            with slicer.util.NodeModify(self):
                _set_value(self, name, connector.read())

    return changed


def _update_gui(self) -> None:
    if self._updating_gui:
        return
    self._updating_gui = True
    try:
        for connectors in self._connections.values():
            for name, connector in connectors.items():
                connector.write(_get_value(self, name))
    finally:
        self._updating_gui = False


def _disconnect_gui(self, tag: int) -> None:
    for connector in self._connections.pop(tag, {}).values():
        connector.on_changed(None)


_METHODS: dict[str, Callable] = {
    "getValue": _get_value,
    "setValue": _set_value,
    "default": _default,
    "dataType": _data_type,
    "isCached": lambda self, name: _check(self, name) is None,
    "connectGui": _connect_gui,
    "connectParametersToGui": _connect_parameters_to_gui,
    "disconnectGui": _disconnect_gui,
    "StartModify": lambda self: self.parameterNode.StartModify(),
    "EndModify": lambda self, before: self.parameterNode.EndModify(before),
    "AddObserver": lambda self, event, callback, priority=0.0: self.parameterNode.AddObserver(
        event, callback, priority
    ),
    "RemoveObserver": lambda self, tag: self.parameterNode.RemoveObserver(tag),
    "Modified": lambda self: self.parameterNode.Modified(),
}


def isParameterNodeWrapper(candidate) -> bool:
    return getattr(candidate, "_is_parameter_node_wrapper", False)


def install() -> None:
    """Makes it importable as ``slicer.parameterNodeWrapper``; every other name in that module raises."""
    names = {
        name: getattr(types_, name)
        for name in ("Default", "WithinRange", "Minimum", "Maximum", "Choice", "NotNone", "IsInstance", "Validator")
    }
    module = StrictModule(
        "slicer.parameterNodeWrapper",
        parameterNodeWrapper=parameterNodeWrapper,
        isParameterNodeWrapper=isParameterNodeWrapper,
        SlicerParameterNamePropertyName=PROPERTY,
        **names,
    )
    slicer.parameterNodeWrapper = sys.modules["slicer.parameterNodeWrapper"] = module
