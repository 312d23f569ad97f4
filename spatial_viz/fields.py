"""JSON into dataclasses, every field checked: what is damaged, or of a later version, is one sentence."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, Literal, TypeVar

Record = TypeVar("Record")


def read_fields(kind: type[Record], value: Any, about: str) -> Record:
    """The dataclass that a JSON object holds; lists become tuples, and what is left out takes its usual value.

    A field may be a text, a number, a truth value, None, a `Literal`, a tuple, a mapping with texts or whole numbers as
    keys, or a dataclass of these.

    Raises
    ------
    ValueError: a field is missing, unknown, or of another type; the sentence names it, ``about`` says of what.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{about} must be values by name; got {type(value).__name__}")
    hints = typing.get_type_hints(kind)
    for name in value:
        if name not in hints:
            raise ValueError(f"{about} has {name!r}, which this version does not know")
    known: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in value:
            known[field.name] = _read(hints[field.name], value[field.name], f"{field.name} of {about}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{about} has no {field.name}")
    return kind(**known)


def _read(hint: Any, value: Any, about: str) -> Any:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _read(next(each for each in inside if each is not types.NoneType), value, about)
    if origin is Literal:
        return _expect(value in inside, value, about, f"one of {', '.join(map(str, inside))}")
    if origin is tuple:
        _expect(isinstance(value, list), value, about, "a list")
        if inside[-1] is ...:
            return tuple(_read(inside[0], each, about) for each in value)
        _expect(len(value) == len(inside), value, about, f"a list of {len(inside)}")
        return tuple(_read(each, part, about) for each, part in zip(inside, value, strict=True))
    if origin in (dict, Mapping):
        _expect(isinstance(value, dict), value, about, "values by name")
        return {_key(inside[0], key, about): _read(inside[1], each, about) for key, each in value.items()}
    if hasattr(hint, "__dataclass_fields__"):
        return read_fields(hint, value, about)
    if hint is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return _expect(is_number and math.isfinite(value), value, about, "a number")
    if hint is int:
        return _expect(type(value) is int, value, about, "a whole number")
    return _expect(type(value) is hint, value, about, {str: "a text", bool: "true or false"}[hint])


def _key(hint: Any, key: str, about: str) -> Any:
    if hint is str:
        return key
    _expect(key.isdecimal(), key, about, "named by whole numbers")
    return int(key)


def _expect(right: bool, value: Any, about: str, expected: str) -> Any:
    if not right:
        raise ValueError(f"{about} must be {expected}; got {value!r:.80}")
    return value
