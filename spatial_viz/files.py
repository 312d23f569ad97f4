"""Writing files and folders: a kill at any moment leaves the old one or the new one, and bits that turn are noticed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

from spatial_viz.errors import InvalidInput

ENDING = ".sha256"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MOST_BYTES = 200  # of a file's name that an unfinished one has, too; file systems take 255


def checksum(path: Path) -> str:
    """The SHA-256 of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def checksum_path(path: Path) -> Path:
    """Where the checksums of a file or folder lie: beside it, as ``sha256sum --check`` reads them."""
    return path.with_name(path.name + ENDING)


def intact(path: Path) -> bool | None:
    """Whether a file, or every file of a folder, is what its checksum says; None where there is none beside it."""
    beside = checksum_path(path)
    if not beside.is_file():
        return None
    return beside.read_bytes() == _checksums(path, path.name)


def check_writable(path: Path) -> None:
    """Refuse, before the work, a place where `write_file` could put nothing.

    Raises
    ------
    InvalidInput: no folder for it, or one that may not be written; something there that is no regular file.
    """
    try:
        place = _real(path)
        if not place.parent.is_dir():
            raise InvalidInput(f"cannot write {path}: there is no folder {place.parent}")
        _refuse_other_than_file(place, path)
        with tempfile.TemporaryFile(dir=place.parent):  # permissions do not tell of read-only disks, nor of quotas
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def check_folder(path: Path) -> None:
    """`check_writable` for a folder to which files are to go, and which is made where it is missing."""
    try:
        place = _real(path)
        existing = next(each for each in (place, *place.parents) if os.path.lexists(each))
        if not existing.is_dir():
            raise InvalidInput(f"cannot write into {path}: {existing} is no folder; choose another place")
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """`replace_file` for a file that the user named.

    Raises
    ------
    InvalidInput: it cannot be written; the message says why.
    """
    try:
        replace_file(path, write)
    except OSError as error:
        raise _unwritable(path, error) from error


def replace_file(path: Path, write: Callable[[Path], object], with_checksum: bool = False) -> None:
    """Have ``write`` make the file under another name beside ``path``, flush it to the disk, then rename it.

    A link stays, and leads to the new file. ``with_checksum``: for `intact`. The checksum comes first, so a kill
    between the two leaves a file that is missing, or one that is not intact and was to go.

    Raises
    ------
    InvalidInput: something is there that is no regular file, such as a device, or a file that is read-only.
    OSError: it cannot be written.
    """
    place = _real(path)
    _refuse_other_than_file(place, path)
    partial = _partial(place)
    try:
        write(partial)
        _flush(partial)
        if with_checksum:
            _write_checksums(partial, place)
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


def replace_folder(path: Path, write: Callable[[Path], object]) -> None:
    """`replace_file` for a folder with files, always with their checksums; one that is there already goes first."""
    partial = _partial(path)
    try:
        write(partial)
        for entry in (*partial.rglob("*"), partial):
            _flush(entry)
        shutil.rmtree(path, ignore_errors=True)
        _write_checksums(partial, path)
        partial.rename(path)
        _flush(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _real(path: Path) -> Path:
    """Where a path leads to."""
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:  # a NUL in it
        raise InvalidInput(f"{str(path)!r} is no path ({error}); choose another name") from error


def _partial(path: Path) -> Path:
    name = os.fsencode(path.name)[:MOST_BYTES].decode("utf-8", "ignore")
    return path.with_name(f"{name}.{uuid.uuid4().hex}.partial")


def check_apart(paths: Iterable[Path | None], source: Path | None = None) -> None:
    """Refuse outputs that would replace one another, or what they are made of.

    Raises
    ------
    InvalidInput: two of them lead to one file, or one leads to ``source``.
    """
    taken = {} if source is None else {_real(source): "the picture itself"}
    for path in paths:
        if path is not None:
            place = _real(path)
            if place in taken:
                raise InvalidInput(
                    f"cannot write {path}: it is {taken[place]}, which would be lost; choose another place"
                )
            taken[place] = f"also {path}"


def _refuse_other_than_file(place: Path, path: Path) -> None:
    if place.is_dir():
        raise InvalidInput(f"cannot write {path}: it is a folder; name a file in it")
    if os.path.lexists(place) and not place.is_file():
        raise InvalidInput(f"cannot write {path}: it is no regular file, and would be lost; choose another place")
    if place.is_file() and not place.stat().st_mode & 0o222:
        raise InvalidInput(f"cannot write {path}: it is read-only; choose another place")


def _unwritable(path: Path, error: OSError) -> InvalidInput:
    advice = "make room there, or choose another place" if error.errno in FULL else "choose another place"
    return InvalidInput(f"cannot write {path}: {error.strerror or error}; {advice}")


def _write_checksums(content: Path, place: Path) -> None:
    """Beside ``place``, those of what ``content`` holds, which is to take that place."""
    text = _checksums(content, place.name)
    replace_file(checksum_path(place), lambda partial: partial.write_bytes(text))


def _checksums(path: Path, name: str) -> bytes:
    """A line per file: its SHA-256 and where it lies, with ``name`` in the place of the path's own."""
    files = sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]
    return b"".join(
        os.fsencode(f"{checksum(each)}  {'/'.join((name, *each.relative_to(path).parts))}\n") for each in files
    )


def _flush(path: Path) -> None:
    """To the disk; Windows has no way to ask that for a folder."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def readable(name: object) -> str:
    r"""A name or path of the file system as text that can be printed and stored: bytes that are no UTF-8, which Python
    keeps as lone surrogates, are read as Latin-1.

    >>> readable("caf\udce9.png")
    'café.png'
    """
    return re.sub(
        "[\udc80-\udcff]+", lambda match: match[0].encode("ascii", "surrogateescape").decode("latin-1"), str(name)
    )
