"""Configurations as frozen dataclasses: built from plain JSON and back, with every name and type checked.

A checkpoint keeps its model's configuration as JSON in its header. What comes back from there may have been written by
another version or another hand, so an unknown name, a missing one and a value of the wrong type are each said in words.
"""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

Config = TypeVar("Config")
Nested = Callable[[str, Any], Any]  # (field, plain value) -> the dataclass or tuple that stands for it


def as_is(name: str, value: Any) -> Any:
    """The ``nested`` of a configuration without dataclasses inside."""
    return value


def build(kind: type[Config], plain: Any, nested: Nested = as_is) -> Config:
    """A dataclass from a mapping. Raises ValueError for unknown, missing and ill-typed entries."""
    if not isinstance(plain, Mapping):
        raise ValueError(f"Expected the fields of {kind.__name__} as a mapping, got {plain!r}.")
    check_names(kind, plain)
    missing = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING and f.name not in plain]
    if missing:
        raise ValueError(f"{kind.__name__} also needs {', '.join(missing)}. Got only {', '.join(plain) or 'nothing'}.")
    values = {name: nested(name, value) for name, value in plain.items()}
    check_types(kind, values)
    return kind(**values)


def changed(config: Config, changes: Mapping[str, Any], nested: Nested = as_is) -> Config:
    """A copy with some fields changed. Raises ValueError for unknown names and ill-typed values."""
    values = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    return build(type(config), values | dict(changes), nested)


def check_names(kind: type, plain: Mapping[str, Any]) -> None:
    """Every name is a field; the nearest field is suggested for one that is not."""
    names = [f.name for f in dataclasses.fields(kind)]
    for name in plain:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(names)}."
            raise ValueError(f"{kind.__name__} has no field {name!r}. {hint}")


def check_types(kind: type, values: Mapping[str, Any]) -> None:
    """Every value has its annotated type; an int may stand for a float, a bool never for a number."""
    for f in dataclasses.fields(kind):
        if f.name not in values:
            continue
        value = values[f.name]
        kinds = get_args(f.type) if isinstance(f.type, UnionType) else (get_origin(f.type) or f.type,)
        kinds = (*kinds, int) if float in kinds else kinds
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"{kind.__name__}.{f.name} is {names}, got {value!r} ({type(value).__name__}).")


def check_positive(config: Any, names: tuple[str, ...]) -> None:
    """These fields are at least 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{type(config).__name__}.{name} must be at least 1, got {getattr(config, name)}.")
