"""The exceptions of the package. Every message says what was expected, what came, and what to do."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable


class SpatialVizError(Exception):
    """Base of all errors that a user can cause and mend; the app and the command line show its text."""


class InvalidInput(SpatialVizError, ValueError):
    """An argument, option or URL parameter that makes no sense."""


class PictureError(SpatialVizError, ValueError):
    """A file or upload that cannot be used as a picture."""


class MissingFile(SpatialVizError, FileNotFoundError):
    """A file that has to be there first; the message says where to put it."""


class CorruptFile(SpatialVizError):
    """A weight file whose content is not what its card says."""


class SpatialVizWarning(UserWarning):
    """What a user should know about an answer that is given all the same, such as files left out."""


def warn(text: str) -> None:
    """A `SpatialVizWarning`: what is told where a caller gives no function that is told such things."""
    warnings.warn(text, SpatialVizWarning, stacklevel=2)


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """``"; did you mean 'x'? Available: …"``, for the end of an error message."""
    names = sorted(options)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} available: {', '.join(names)}"
