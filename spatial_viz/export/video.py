"""Frames, such as those of `spatial_viz.export.worst_case_frames`, as a GIF, or where there is ffmpeg as an MP4."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from spatial_viz.errors import InvalidInput, SpatialVizError
from spatial_viz.figures.style import loss_colours
from spatial_viz.files import write_file

FRAME_MS, FIRST_MS, LAST_MS = 70, 1000, 2800  # how long a frame is shown, and the two that one has to read
MOST_BYTES = 2_000_000  # of a GIF
FEWEST = 12  # frames that it keeps in any case
ENDINGS = (".gif", ".mp4")


def to_gif(pictures: Sequence[Image.Image]) -> bytes:
    """The frames as an animated GIF that runs for ever and rests at both ends; fewer of them where it would be larger
    than `MOST_BYTES`.
    """
    # One palette for all: what does not change then costs nothing, and nothing flickers. The loss scale is part of it.
    width, height = pictures[0].size
    scale = loss_colours(np.linspace(0, 1, width)[None].repeat(60, 0), 1)
    strip = Image.new("RGB", (width, 3 * height + len(scale)))
    for row, number in enumerate((0, len(pictures) // 2, len(pictures) - 1)):
        strip.paste(pictures[number], (0, row * height))
    strip.paste(Image.fromarray(scale), (0, 3 * height))
    colours = strip.quantize(255, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    flat = [each.quantize(palette=colours, dither=Image.Dither.NONE) for each in pictures]
    step = 1
    while len(data := _gif(flat, step)) > MOST_BYTES and len(flat) // step > FEWEST:
        step += 1
    return data


def _gif(flat: Sequence[Image.Image], step: int) -> bytes:
    """Every so many frames, the last one among them, as long as all of them together."""
    shown = [*flat[:-1:step], flat[-1]]
    durations = [FIRST_MS, *[FRAME_MS * step] * (len(shown) - 2), LAST_MS]
    stream = io.BytesIO()
    shown[0].save(stream, "GIF", save_all=True, append_images=shown[1:], duration=durations, loop=0, optimize=False)
    return stream.getvalue()


def to_mp4(pictures: Sequence[Image.Image], path: Path) -> None:
    """Write the frames as an MP4 that rests at both ends, by the ffmpeg of this machine.

    Raises
    ------
    InvalidInput: there is no ffmpeg.
    SpatialVizError: it failed; the message has its last line.
    """
    rate = round(1000 / FRAME_MS)
    width, height = pictures[0].size
    command = [
        _ffmpeg(path), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
        "-r", str(rate), "-i", "-", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", str(path),
    ]  # fmt: skip
    durations = [FIRST_MS, *[FRAME_MS] * (len(pictures) - 2), LAST_MS]
    shown = zip(pictures, durations, strict=True)
    data = b"".join(each.tobytes() * round(duration * rate / 1000) for each, duration in shown)
    done = subprocess.run(command, input=data, capture_output=True)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it gave no reason"]
        raise SpatialVizError(f"ffmpeg could not write {path.name}: {last[0]}")


def check_ending(path: Path) -> None:
    """Refuse a file that is to become neither a GIF nor an MP4, or an MP4 where nothing can make one."""
    if path.suffix.lower() not in ENDINGS:
        raise InvalidInput(f"an animation is a .gif, or a .mp4 where ffmpeg is at hand; got {path.name}")
    if path.suffix.lower() == ".mp4":
        _ffmpeg(path)


def ffmpeg() -> str | None:
    """Where the program is that makes an MP4; None where this machine has none."""
    return shutil.which("ffmpeg")


def _ffmpeg(path: Path) -> str:
    program = ffmpeg()
    if program is None:
        raise InvalidInput(f"{path.name} needs ffmpeg, which is not on this machine; install it, or choose a .gif")
    return program


def save_animation(path: Path, pictures: Sequence[Image.Image]) -> None:
    """Write frames as the ending of ``path`` says."""
    check_ending(path)
    if path.suffix.lower() == ".mp4":
        write_file(path, lambda partial: to_mp4(pictures, partial))
    else:
        content = to_gif(pictures)
        write_file(path, lambda partial: partial.write_bytes(content))
