"""Texts from outside → values, what cannot be read is refused with an example; and JSON for any console."""

from __future__ import annotations

import codecs
import errno
import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from spatial_viz.errors import InvalidInput


def parse_epsilon(text: str) -> float:
    match = re.fullmatch(r" *([0-9]*\.?[0-9]+) *(?:/ *([0-9]*\.?[0-9]+) *)?", text)
    if not match or (match[2] and float(match[2]) == 0):
        raise InvalidInput(f"--epsilon takes a number from 0 to 1, or a fraction such as 8/255; got {text!r}")
    return float(match[1]) / float(match[2] or 1)


def parse_indices(text: str) -> list[int]:
    """
    >>> parse_indices("3,10-12")
    [3, 10, 11, 12]
    """
    places: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(" *([0-9]{1,7}) *(?:- *([0-9]{1,7}) *)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if first > last:
            raise InvalidInput(f"--indices takes numbers and ranges such as 0,5,100-199; got {text!r}")
        places += range(first, last + 1)
    return places


def parse_granularity(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3 or not all(re.fullmatch(" *[0-9]{1,9} *", part) for part in parts):
        raise InvalidInput(f"--granularity takes three whole numbers, rotations,dx,dy, such as 31,5,5; got {text!r}")
    rotations, dxs, dys = (int(part) for part in parts)
    return rotations, dxs, dys


def parse_name(text: str) -> str:
    """A name that may be the path of a file or folder. An empty one is a variable of the shell that was never set, not
    the folder where one is."""
    if not text:
        raise typer.BadParameter("a path is needed; got an empty text")
    try:
        os.lstat(text)
    except ValueError as error:
        raise typer.BadParameter(f"a path is needed; got {text[:80]!r}, which is none ({error})") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise typer.BadParameter(f"a path is needed; got {text[:80]!r}… (File name too long)") from error
    return text


def parse_path(text: str | Path) -> Path:
    return Path(parse_name(str(text)))


def path_option(help: str) -> Any:
    """An option of a command that takes a path."""
    return typer.Option(parser=parse_path, metavar="PATH", help=help)


def name_option(help: str) -> Any:
    """An option of a command that takes a name, or the path of a folder."""
    return typer.Option(parser=parse_name, metavar="TEXT", help=help)


def print_json(value: Any, indent: int | None = None) -> None:
    """One JSON text on stdout, for any encoding of it: letters that it may lack are escaped as JSON escapes them."""
    complete = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    print(json.dumps(value, indent=indent, ensure_ascii=not complete))


# What several commands ask for.
PictureArgument = Annotated[str, typer.Argument(help="A picture file, or a sample such as sample:cifar10/0.")]


ClassifierOption = Annotated[str, typer.Option(help="See the command models.")]


LabelOption = Annotated[
    str | None, typer.Option(help="True class, name or index. Default: the sample's; else the natural prediction.")
]


RotationOption = Annotated[float | None, typer.Option(help="Limit in degrees. Default: 30.")]


TranslationOption = Annotated[
    float | None, typer.Option(help="Limit in pixels of the model's input. Default: about 10 %.")
]


PaddingOption = Annotated[str, typer.Option(help="black, reflect or edge.")]


DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
