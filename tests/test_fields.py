"""JSON into dataclasses: what fits is read, and what does not is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from spatial_viz.fields import read_fields


@dataclass(frozen=True)
class Inner:
    share: float


@dataclass(frozen=True)
class Outer:
    name: str
    count: int
    size: tuple[int, int]
    inner: Inner
    several: tuple[Inner, ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    kind: Literal["a", "b"] | None = None
    right: bool = False


WHOLE: dict[str, Any] = {"name": "x", "count": 3, "size": [4, 5], "inner": {"share": 1}}


def test_what_fits_is_read() -> None:
    assert read_fields(Outer, WHOLE, "it") == Outer("x", 3, (4, 5), Inner(1))
    more = {"several": [{"share": 0.5}], "names": {"7": "cat"}, "kind": "b", "right": True}
    assert read_fields(Outer, WHOLE | more, "it") == Outer(
        "x", 3, (4, 5), Inner(1), (Inner(0.5),), {7: "cat"}, "b", True
    )
    assert read_fields(Outer, WHOLE | {"kind": None}, "it").kind is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": 1}, "name of it must be a text; got 1"),
        ({"count": True}, "count of it must be a whole number; got True"),
        ({"count": 1.0}, "count of it must be a whole number"),
        ({"size": [4]}, "size of it must be a list of 2"),
        ({"size": 4}, "size of it must be a list; got 4"),
        ({"size": ["4", 5]}, "size of it must be a whole number; got '4'"),
        ({"inner": 1}, "inner of it must be values by name; got int"),
        ({"inner": {}}, "inner of it has no share"),
        ({"inner": {"share": float("nan")}}, "share of inner of it must be a number"),
        ({"inner": {"share": 1, "more": 2}}, "inner of it has 'more', which this version does not know"),
        ({"several": [1]}, "several of it must be values by name"),
        ({"names": {"x": "cat"}}, "names of it must be named by whole numbers; got 'x'"),
        ({"names": {"1": 2}}, "names of it must be a text; got 2"),
        ({"kind": "c"}, "kind of it must be one of a, b; got 'c'"),
        ({"right": 1}, "right of it must be true or false; got 1"),
        ({"nmae": "x"}, "it has 'nmae', which this version does not know"),
    ],
)
def test_what_does_not_is_named(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_fields(Outer, WHOLE | change, "it")
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize("missing", WHOLE)
def test_what_is_missing_is_named(missing: str) -> None:
    with pytest.raises(ValueError, match=f"^it has no {missing}$"):
        read_fields(Outer, {name: value for name, value in WHOLE.items() if name != missing}, "it")
