"""Files and uploads → PIL pictures or [0, 1] tensors of the size that a classifier takes."""

from __future__ import annotations

import base64
import contextlib
import io
import math
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from spatial_viz.errors import InvalidInput, PictureError, warn
from spatial_viz.files import readable

SMALL = 64
"""Pixels of the longer side; a picture up to that size is quickly asked about, and is shown with its pixels visible."""
MAX_PIXELS = 50_000_000
"""Larger pictures are refused by the size in their header, before anything is decoded."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""The only decoders that ever see an upload; Pillow has fifty, some of which start other programs."""
_READABLE = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
_LARGEST_RESIZE = 16_000_000  # pixels; a 1:16 panorama at short side 1000 still takes the plain way
_DEEP = 65535  # the full scale of 16-bit pictures
_SUSPECT = 4095  # of 12 bits, which detectors have: 16-bit pictures that get no brighter are nearly black
_PNG = b"\x89PNG\r\n\x1a\n"
_MAX_SAMPLE_VALUE = 281  # a tag of TIFF
_FULL_SCALE = "full_scale"  # in the ``info`` of a picture, where its file says another one


# ---------------------------------------------------------------------------------------------- files and uploads


def load_image(
    source: str | Path | bytes, name: str | None = None, tell: Callable[[str], object] = warn
) -> Image.Image:
    """A fully decoded picture, turned upright as its EXIF data says; of an animation, the first frame.

    Parameters
    ----------
    source: a path, or the bytes of a file, in one of FORMATS.
    name: how error messages call it; by default the path, or "the uploaded file".
    tell: is told in a sentence about a picture that is read, and probably not as it was meant; by default it becomes a
        warning.

    Returns
    -------
    A PIL picture of any mode, which no longer depends on the file; see :func:`picture_to_tensor`.

    Raises
    ------
    PictureError: anything that is not a whole picture of at least 1×1 and at most MAX_PIXELS pixels. Nothing else.
    """
    if isinstance(source, bytes):
        return _decode(io.BytesIO(source), name or "the uploaded file", tell)
    label = name or readable(source)
    try:
        kind = os.stat(source).st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PictureError(f"{label} does not exist; expected a picture file ({_READABLE})") from error
    except (OSError, ValueError) as error:
        raise PictureError(f"{label!r} cannot be opened ({reason(error)}); expected the path of a picture") from error
    if stat.S_ISDIR(kind):
        raise PictureError(f"{label} is a folder; expected one picture file ({_READABLE})")
    if not stat.S_ISREG(kind):  # opening a pipe or a device could block for ever
        raise PictureError(f"{label} is not a plain file; expected one picture file ({_READABLE})")
    try:
        with open(source, "rb") as stream:
            return _decode(stream, label, tell)
    except OSError as error:
        raise PictureError(f"{label} cannot be opened ({reason(error)}); check that it may be read") from error


def _decode(stream: BinaryIO, label: str, tell: Callable[[str], object]) -> Image.Image:
    head = stream.read(4096)
    if not head:
        raise PictureError(f"{label} is empty (0 bytes); expected a picture file ({_READABLE})")
    too_large = f"at most {MAX_PIXELS // 10**6} million pixels are read; make it smaller first"
    # Decoders raise almost any exception on damaged or hostile files (SyntaxError, struct.error, ValueError for text
    # chunks that unpack to gigabytes, …), hence the broad handlers in this one place.
    try:
        picture: Image.Image = Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise PictureError(f"{label} {_what_else(head, label)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PictureError(f"{label} has far too many pixels; {too_large}") from error
    except Exception as error:
        if lighter := _without_texts(stream, error):
            return _decode(lighter, label, tell)
        raise PictureError(f"{label} cannot be read ({reason(error)}); save it again as PNG or JPEG") from error
    width, height = picture.size
    if width < 1 or height < 1:
        raise PictureError(f"{label} has {width}×{height} pixels; expected at least 1×1")
    if width * height > MAX_PIXELS:
        raise PictureError(f"{label} has {width:,}×{height:,} pixels; {too_large}")
    try:
        picture.load()
    except Exception as error:
        if lighter := _without_texts(stream, error):
            return _decode(lighter, label, tell)
        raise PictureError(f"{label} is damaged or cut short ({reason(error)}); download or save it again") from error
    _note_scale(picture, stream, head, label, tell)
    with contextlib.suppress(Exception):  # a damaged note about how the camera was held must not cost the picture
        return ImageOps.exif_transpose(picture)
    return picture.copy()


def upright_size(path: Path) -> tuple[int, int] | None:
    """(width, height) of the picture that `load_image` gives, from its header alone; None where that cannot be read."""
    if not path.is_file():  # opening a pipe or a device could block for ever
        return None
    try:
        with open(path, "rb") as stream:
            try:
                picture: Image.Image = Image.open(stream, formats=FORMATS)
            except ValueError as error:
                picture = Image.open(_without_texts(stream, error) or stream, formats=FORMATS)
            notes = Image.Image.getexif(picture)  # a PNG's own method would decode it
            return picture.size[::-1] if notes.get(ExifTags.Base.Orientation, 1) >= 5 else picture.size
    except Exception:  # as in `_decode`
        return None


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kind of every chunk of a PNG, and the whole chunk: length, kind, content, checksum."""
    start = 8
    while start < len(png):
        end = start + 12 + int.from_bytes(png[start : start + 4], "big")
        yield png[start + 4 : start + 8], png[start:end]
        start = end


def _without_texts(stream: BinaryIO, error: Exception) -> BinaryIO | None:
    """A PNG without its texts, where ``error`` may be about them: image generators write megabytes, which Pillow
    refuses. None where there is nothing to leave out."""
    stream.seek(0)
    png = stream.read()
    if not isinstance(error, ValueError) or not png.startswith(_PNG):
        return None
    content = _PNG + b"".join(chunk for kind, chunk in _chunks(png) if kind not in (b"tEXt", b"zTXt", b"iTXt"))
    return io.BytesIO(content) if len(content) < len(png) else None


def _note_scale(picture: Image.Image, stream: BinaryIO, head: bytes, label: str, tell: Callable[[str], object]) -> None:
    """Keep the full scale of a deep picture where its file says it; tell of one that looks as if its values were those
    of a detector of 12 bits or fewer in a file of 16."""
    if picture.mode.startswith("I"):
        values = np.asarray(picture)
        full = picture.info[_FULL_SCALE] = _full_scale(picture, stream, values)
        dark = full == _DEEP and 0 < values.max() <= _SUSPECT
    else:  # of 16 bits a channel, Pillow keeps 8
        dark = _had_16_bits(picture, head) and 0 < np.asarray(picture)[..., :3].max() <= _SUSPECT >> 8
    if dark:
        tell(
            f"{label} has no value above {_SUSPECT:,} of {_DEEP:,}, so it is nearly black; if these are the values of "
            "a detector with fewer bits, rescale them"
        )


def _full_scale(picture: Image.Image, stream: BinaryIO, values: np.ndarray) -> int:
    """The value of white in a deep picture: 65535, or that of the fewer bits that its file names."""
    bits = 16
    if picture.format == "PNG":
        stream.seek(0)
        bits = next((chunk[8] for kind, chunk in _chunks(stream.read()) if kind == b"sBIT"), 16)
        # By the standard the bits are the upper ones of 16, and those below are empty; many writers use the lower ones.
        if 0 < bits < 16 and not (values & ((1 << (16 - bits)) - 1)).any():
            return _DEEP
    elif isinstance(picture, TiffImagePlugin.TiffImageFile):
        highest = picture.tag_v2.get(_MAX_SAMPLE_VALUE, _DEEP)  # often merely the highest that occurs
        stored = picture.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0]
        bits = next((bits for bits in range(9, 16) if bits == stored or highest == (2**bits - 1,)), 16)
    full: int = 2**bits - 1
    return full if 8 < bits < 16 and values.max() <= full else _DEEP


def _had_16_bits(picture: Image.Image, head: bytes) -> bool:
    """Whether a file with colours has 16 bits a channel."""
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        bits: int = picture.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (8,))[0]
        return bits == 16 and picture.mode in ("RGB", "RGBA")
    return picture.format == "PNG" and head[24] == 16 and picture.mode in ("RGB", "RGBA")


def _what_else(head: bytes, label: str) -> str:
    """What a file is that none of the decoders takes, and what to do about it."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    vector = text.startswith(b"<") and b"<svg" in text and b"<html" not in text
    if vector or label.lower().endswith((".svg", ".svgz")):
        return "is an SVG drawing, and vector pictures are not read; export it as PNG"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer in the place of the picture; run: git lfs pull"
    if head[4:8] == b"ftyp":  # what phones write
        return "is a HEIC, AVIF or video file, which is not read; export it as JPEG or PNG"
    if head.startswith(b"%PDF"):
        return "is a PDF document, which is not read; export the page or the picture as PNG"
    return f"is not a picture that can be read, or its beginning is damaged; expected {_READABLE}"


def reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]


# ---------------------------------------------------------------------------------------------- pictures and tensors


def picture_to_tensor(picture: Image.Image, channels: int = 3) -> Tensor:
    """A PIL picture of any mode as float32 ``channels``×H×W in [0, 1].

    Convention
    ----------
    * Transparent parts show white. Palettes and CMYK become RGB; grey is repeated for three channels.
    * One channel is the luminance of ITU-R 601, as Pillow's mode "L".
    * 16-bit grey (I;16, I) is divided by 65535, or by the full scale of the bits that its file names (sBIT in PNG,
      BitsPerSample or MaxSampleValue in TIFF). Float pictures (F) that stay within [0, 1] are taken as they are; those
      that stay within [0, 255] are divided by 255.

    Raises
    ------
    InvalidInput: ``channels`` other than 1 and 3.
    PictureError: values outside these ranges, NaN, no pixels, or a mode that Pillow cannot turn into RGB.
    """
    if channels not in (1, 3):
        raise InvalidInput(f"channels must be 1 (grey) or 3 (RGB); got {channels!r}")
    flat = _flatten(picture)
    if flat.mode == "F":
        return torch.from_numpy(np.array(flat))[None].repeat(channels, 1, 1)
    values = torch.from_numpy(np.array(flat.convert("L" if channels == 1 else "RGB"))).float().div_(255)
    return values[None] if channels == 1 else values.permute(2, 0, 1).contiguous()


def tensor_to_picture(image: Tensor) -> Image.Image:
    """A 1×H×W or 3×H×W tensor in [0, 1], on any device, as an 8-bit picture (mode L or RGB), rounded to nearest.

    Raises
    ------
    InvalidInput: another shape, no pixels, an integer dtype, values outside [0, 1] (by more than rounding) or NaN.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0 or not image.is_floating_point():
        raise InvalidInput(
            f"image must be a floating 1×H×W or 3×H×W tensor; got {image.dtype} of shape {tuple(image.shape)}"
        )
    values = image.detach().to("cpu", torch.float32)
    low, high = values.min().item(), values.max().item()
    if not (low >= -1e-3 and high <= 1 + 1e-3):  # written so that NaN fails
        raise InvalidInput(f"image must have values in [0, 1]; got {low:g} to {high:g}")
    pixels = (values.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def data_uri(picture: Image.Image) -> str:
    """A picture as PNG in a data URI, for pages that carry their pictures with them."""
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def fit(
    picture: Image.Image, resize: int | tuple[int, int] | None, crop: tuple[int, int], interpolation: str = "bilinear"
) -> Image.Image:
    """The centre of a picture at a classifier's input size.

    Convention
    ----------
    Antialiased resizing, then a centre crop; on pictures in mode L or RGB exactly torchvision's
    ``Resize(resize)`` and ``CenterCrop(crop)``. Other modes are first flattened as :func:`picture_to_tensor` does,
    because palettes and colour keys cannot be interpolated.

    Parameters
    ----------
    picture: H'×W' of any mode and aspect.
    resize: the length of the SHORT side in pixels, or (H, W) for both sides; None means just large enough to cover the
        crop, and leaves a picture that already has its size unchanged.
    crop: (H, W) of the result, in pixels.
    interpolation: ``bilinear`` or ``bicubic``, as the weights ask.

    Returns
    -------
    A picture of W×H pixels in mode L, RGB or (of deep pictures) F. Memory is bounded by the size of ``picture`` and the
    result, whatever the aspect.

    Raises
    ------
    InvalidInput: sides below 1, or a resize that would not cover the crop.
    PictureError: a picture without pixels or with values that cannot be understood.
    """
    height, width = crop
    sides = (height, width, *((resize,) if isinstance(resize, int) else resize or ()))
    if min(sides) < 1:
        raise InvalidInput(f"resize and crop must be sides of at least 1 pixel; got resize {resize} and crop {crop}")
    least = (resize, resize) if isinstance(resize, int) else resize or crop
    if least[0] < height or least[1] < width:
        raise InvalidInput(f"resize must cover the crop of {height}×{width} pixels; got {resize}")
    if resize is None and picture.size == (width, height):
        return picture
    method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    flat = _flatten(picture)
    old_width, old_height = flat.size
    if isinstance(resize, tuple):
        new_height, new_width = resize
    elif isinstance(resize, int):  # truncated, as torchvision truncates
        new_height = resize if old_height <= old_width else int(resize * old_height / old_width)
        new_width = resize if old_width <= old_height else int(resize * old_width / old_height)
    else:  # the side that is relatively shorter becomes exact, the other follows
        tall = height * old_width >= width * old_height
        new_height = height if tall else max(height, int(width * old_height / old_width))
        new_width = max(width, int(height * old_width / old_height)) if tall else width
    top, left = round((new_height - height) / 2), round((new_width - width) / 2)
    if new_height * new_width <= _LARGEST_RESIZE:
        resized = flat.resize((new_width, new_height), method)
        result = resized.crop((left, top, left + width, top + height))
    else:
        # A 1×5000 strip with its short side at 256 would be 256×1,280,000. Compute the kept part only, from the pixels
        # it can reach: the same values, up to the rounding of the filter's weights.
        x0, x1, box_left, box_right = _reach(old_width, new_width, left, width)
        y0, y1, box_top, box_bottom = _reach(old_height, new_height, top, height)
        box = (box_left, box_top, box_right, box_bottom)
        result = flat.crop((x0, y0, x1, y1)).resize((width, height), method, box=box)
    if result.mode == "F":  # interpolation may leave [0, 1] by a rounding, which would read as a picture in [0, 255]
        result = Image.fromarray(np.asarray(result).clip(0, 1))
    return result


def _reach(old: int, new: int, start: int, count: int) -> tuple[int, int, float, float]:
    """Along one axis: which source pixels [first, last) the output pixels [start, start + count) of a resize from
    ``old`` to ``new`` can depend on, and the source interval they stand for, relative to ``first``."""
    scale = old / new
    low, high = start * scale, min((start + count) * scale, old)
    margin = 2 * math.ceil(max(1.0, scale)) + 1  # the widest filter, bicubic, reaches two (scaled) pixels beyond
    first, last = max(0, math.floor(low) - margin), min(old, math.ceil(high) + margin)
    return first, last, low - first, high - first


def _flatten(picture: Image.Image) -> Image.Image:
    """The same picture in mode L or RGB, or F with values in [0, 1]: no palette, no transparency, nothing clipped."""
    if min(picture.size) < 1:
        raise PictureError(f"the picture has {picture.width}×{picture.height} pixels; expected at least 1×1")
    mode = picture.mode
    if mode == "F" or mode.startswith("I"):
        return Image.fromarray(_deep_values(picture))
    try:
        if picture.has_transparency_data:
            straight = picture.convert("LA") if mode == "La" else picture
            white = Image.new("RGBA", picture.size, "white")
            return Image.alpha_composite(white, straight.convert("RGBA")).convert("RGB")
        if mode in ("L", "RGB"):
            return picture
        return picture.convert("L" if mode == "1" else "RGB")
    except (ValueError, TypeError, OSError) as error:
        raise PictureError(f"a picture in mode {mode} cannot become RGB ({reason(error)}); save it as RGB") from error


def _deep_values(picture: Image.Image) -> np.ndarray:
    """16-bit and float pictures as float32 H×W in [0, 1]."""
    values = np.array(picture)
    low, high = values.min(), values.max()
    if picture.mode == "F":
        if not (np.isfinite(low) and np.isfinite(high) and low >= 0 and high <= 255):
            raise PictureError(
                f"a float picture must have finite values in [0, 1] or in [0, 255]; got {low:g} to {high:g}; rescale it"
            )
        return values if high <= 1 else values / np.float32(255)
    if low < 0 or high > 65535:
        raise PictureError(f"a 16-bit picture must have values in 0 to 65535; got {low} to {high}; rescale it")
    full, transparent = picture.info.get(_FULL_SCALE), picture.info.get("transparency")
    scaled = values.astype(np.float32) / np.float32(full if isinstance(full, int) else _DEEP)
    return np.where(values == transparent, np.float32(1), scaled) if isinstance(transparent, int) else scaled
