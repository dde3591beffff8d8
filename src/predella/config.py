"""Configs: frozen, keyword-only dataclasses, written to JSON and read back strictly."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal, dataclass_transform, get_args, get_origin

from predella.errors import did_you_mean


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls):
    """Class decorator: a frozen keyword-only dataclass that pydantic reads back with unknown keys forbidden.

    A field of type Literal, or a tuple of them, takes only its words, from Python too.
    """
    cls.__pydantic_config__ = {"extra": "forbid"}
    check = cls.__dict__.get("__post_init__")

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check_words(field.name, field.type, getattr(self, field.name))
        if check is not None:
            check(self)

    cls.__post_init__ = __post_init__
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


def _check_words(name: str, kind, value) -> None:
    if get_origin(kind) is tuple and isinstance(value, tuple):
        for one in value:
            _check_words(name, get_args(kind)[0], one)
    elif get_origin(kind) is Literal and value not in get_args(kind):
        raise ValueError(f"{name} can't be {value!r}{did_you_mean(str(value), map(str, get_args(kind)))}")


def differences(one: Any, other: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """(dotted field, its value in one, in the other) where two configs differ, as far down as they are of one class."""
    if one == other:
        return
    if not dataclasses.is_dataclass(one) or type(one) is not type(other):
        yield path, one, other
        return
    for field in dataclasses.fields(one):
        yield from differences(getattr(one, field.name), getattr(other, field.name), f"{path}.{field.name}")


def read_config(cls, values: dict):
    """Build `cls` (made by `config`) from plain JSON values; nested configs and tuples are converted.

    Raises:
        ValueError: one line naming each unknown key or ill-typed value.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        found = error.errors()
        other = [e["loc"][:-1] for e in found if e["type"] == "literal_error" and e["loc"][-1] == "kind"]  # members of a union not meant
        rows = [_row(e) for e in found if not any(e["loc"][: len(o)] == o for o in other)]
        raise ValueError("; ".join(rows or [_kinds(found)])) from None


def _kinds(found) -> str:
    """Of a union whose members are all not meant: what is asked for, and what there is."""
    of = [(_place(e), e) for e in found if e["type"] == "literal_error" and e["loc"][-1] == "kind"]
    place, first = of[0]
    known = ", ".join(dict.fromkeys(e["ctx"]["expected"].strip("'") for at, e in of if at == place))
    return f"{place} '{first['input']}' is not known here; known: {known}"


def _place(error) -> str:
    return ".".join(str(p) for p in error["loc"] if not str(p)[:1].isupper())  # fields; a union's members are classes


def _row(error) -> str:
    place = _place(error)
    place += ":" * bool(place and error["type"] == "value_error")
    got = "" if isinstance(error["input"], dict) else f", got {error['input']!r}"
    return f"{place} {_rule(error['type'], error['msg'])}{got}".lstrip()


def _rule(kind: str, message: str) -> str:
    plain = {"int_parsing": "must be a whole number", "int_from_float": "must be a whole number", "float_parsing": "must be a number",
             "bool_parsing": "must be true or false", "unexpected_keyword_argument": "is no field", "missing": "is missing"}  # fmt: skip
    return plain.get(kind, message.replace("Input should be", "must be").removeprefix("Value error, "))
