"""The way to the worst case: what is computed for it, how it is drawn, and the files that it becomes."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from PIL import Image
from plotly.colors import sample_colorscale, unlabel_rgb
from programs import program
from torch import Tensor
from toys import toy_logit

from spatial_viz.errors import InvalidInput, SpatialVizError
from spatial_viz.export import video, worst_case_frames
from spatial_viz.export.raster import MapPicture, enlarged_picture, fitted, font, lines_of
from spatial_viz.export.video import save_animation, to_gif, to_mp4
from spatial_viz.export.worst_case_frames import SIZE, draw_trajectory, trajectory_to_worst
from spatial_viz.figures.planes import slice_of
from spatial_viz.figures.style import LOSS_SCALE, loss_colours, palette
from spatial_viz.landscape.dataset import worst_case
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.models.classifier import Classifier
from spatial_viz.transforms.grids import TransformGrid


@pytest.fixture
def landscape(toy_classifier: Classifier, toy_image: Tensor) -> xr.Dataset:
    return sweep(toy_classifier, toy_image, 0, TransformGrid(30.0, 3.0, 3.0, (7, 5, 3)), device="cpu")


# --- The way --------------------------------------------------------------------------------------------------------


def test_every_frame_is_computed_not_interpolated(
    toy_classifier: Classifier, toy_image: Tensor, landscape: xr.Dataset
) -> None:
    way = trajectory_to_worst(toy_classifier, toy_image, landscape, 21)
    logit = toy_logit(*way.transforms.numpy().astype(np.float64).T)
    assert way.losses == pytest.approx(np.log1p(np.exp(logit)), abs=2e-2)
    assert way.probabilities[:, 1] == pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-2)
    straight = np.interp(way.share, [0, 1], way.losses[[0, -1]])
    assert np.abs(way.losses - straight).max() > 0.05, "a blend of the two ends would be another curve"


def test_it_leads_from_the_picture_to_its_worst_case(
    toy_classifier: Classifier, toy_image: Tensor, landscape: xr.Dataset
) -> None:
    way, worst = trajectory_to_worst(toy_classifier, toy_image, landscape, 11), worst_case(landscape)
    assert way.transforms[0].tolist() == [0, 0, 0]
    assert way.transforms[-1].tolist() == [worst.rotation, worst.dx, worst.dy]
    assert way.losses[0] == pytest.approx(float(landscape["natural_loss"]), abs=1e-5)
    assert way.losses[-1] == pytest.approx(worst.loss, abs=1e-4)
    assert (np.diff(way.share) > 0).all() and way.share[[0, -1]].tolist() == [0, 1]
    with pytest.raises(InvalidInput, match="at least 2 frames; got 1"):
        trajectory_to_worst(toy_classifier, toy_image, landscape, 1)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_frames_show_the_picture_and_the_marker_as_they_go(
    theme, toy_classifier: Classifier, toy_image: Tensor, landscape: xr.Dataset
) -> None:
    drawn = draw_trajectory(toy_classifier, toy_image, landscape, picture="blob.png", frames=9, theme=theme)
    assert [each.size for each in drawn] == [SIZE] * 9 and {each.mode for each in drawn} == {"RGB"}
    ground = palette(theme)["page"]
    assert f"#{bytes(drawn[0].getpixel((3, 3))).hex()}" == ground
    arrays = [np.asarray(each, np.int16) for each in drawn]
    changed = np.abs(arrays[0] - arrays[-1]).max(2) > 0
    for place, (left, right, top, bottom) in {
        "picture": (18, 274, 68, 324), "words": (18, 300, 40, 60), "map": (344, 740, 92, 208),
        "curve": (344, 740, 282, 388), "bars": (138, 254, 383, 450),
    }.items():  # fmt: skip
        assert changed[top:bottom, left:right].any(), f"{place} does not move"
    assert not changed[-34:].any() and not changed[:36].any(), "caption and name stay"
    assert len(np.unique(arrays[0][-34:].reshape(-1, 3), axis=0)) > 2, "there is a caption"


@pytest.mark.parametrize("granularity", [(7, 1, 1), (1, 5, 3), (7, 1, 3), (1, 1, 1)])
def test_axes_that_do_not_move(
    granularity: tuple[int, int, int], toy_classifier: Classifier, toy_image: Tensor
) -> None:
    landscape = sweep(toy_classifier, toy_image, None, TransformGrid(30.0, 3.0, 3.0, granularity))
    assert len(draw_trajectory(toy_classifier, toy_image, landscape, frames=3)) == 3


def test_a_long_name_stays_in_its_column(toy_image: Tensor, toy_classifier: Classifier) -> None:
    long = Classifier(
        toy_classifier.network, class_names=["soft-coated wheaten terrier " * 4, "right"], input_size=(32, 32),
        mean=(0.0,), std=(1.0,), name="a name " * 40,
    )  # fmt: skip
    drawn = draw_trajectory(
        long, toy_image, sweep(long, toy_image, 0, TransformGrid(30.0, 3.0, 3.0, (3, 3, 3))), frames=2
    )
    assert np.asarray(drawn[0])[330:450, 308:322].min() > 250, "nothing between the columns"


# --- Drawing --------------------------------------------------------------------------------------------------------


def test_losses_have_the_colours_of_all_figures() -> None:
    values = np.linspace(0, 2, 17)
    expected = [unlabel_rgb(colour) for colour in sample_colorscale(LOSS_SCALE, values / 2)]
    assert loss_colours(values, 2.0) == pytest.approx(np.array(expected), abs=1)
    assert (loss_colours(np.array([-1.0, 9.0]), 2.0) == loss_colours(np.array([0.0, 2.0]), 2.0)).all()


def test_a_map_has_a_block_per_cell_and_knows_where_they_lie(landscape: xr.Dataset) -> None:
    cut = slice_of(landscape, "rotation", "dy", 3.0, "loss", None)
    drawn = MapPicture(cut, "rotation", "dy", (140, 60), 3.0)
    pixels = np.asarray(drawn.picture)
    for row, dy in enumerate(cut.ys):
        for column, rotation in enumerate(cut.xs):
            x, y = drawn.place(rotation, dy)
            assert (x, y) == pytest.approx((140 - 20 * column - 10, 20 * row + 10)), "left is left, down is down"
            block = pixels[int(y) - 4 : int(y) + 4, int(x) - 4 : int(x) + 4]
            same = (block == loss_colours(cut.values[row, column], 3.0)).all(2)
            assert same.mean() == 1.0 if not cut.wrong[row, column] else 0.5 < same.mean() < 1, "hatched where wrong"
    flat = slice_of(landscape, "dx", "rotation", 3.0, "loss", None)
    across = MapPicture(flat, "dx", "rotation", (140, 60), 3.0)
    assert across.place(flat.xs[0], flat.ys[-1]) == pytest.approx((70 / len(flat.xs), 30 / len(flat.ys)))
    assert cut.wrong.any() and not cut.wrong.all() and (pixels == 255).all(2).any(), "outlined"


def test_texts_are_cut_and_broken() -> None:
    letters = font(12)
    assert fitted("short", letters.getlength, 100) == "short"
    cut = fitted("much too long for this", letters.getlength, 60)
    assert cut.endswith("…") and letters.getlength(cut) <= 60
    text = "one two three four five"
    assert lines_of(text, len, 10, 5) == ["one two", "three four", "five"]
    assert lines_of(text, len, 10, 2) == ["one two", "three fou…"]
    assert lines_of("unbreakable", len, 6, 2) == ["unbre…"] and lines_of("", len, 6, 2) == [""]
    assert lines_of("the share is 33\u00a0%\nhere", len, 15, 3) == ["the share is", "33\u00a0% here"]
    missing = font(12).getmask("\uffff")
    for sign in "°±×−–✓✕ℓ∞≈ą…·":
        assert bytes(letters.getmask(sign)) != bytes(missing), f"the font lacks {sign}"


def test_a_picture_keeps_its_aspect_and_its_pixels() -> None:
    small = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8))
    large = enlarged_picture(small, 8)
    assert large.size == (8, 8) and set(np.asarray(large).ravel().tolist()) == {0, 255}
    assert enlarged_picture(Image.new("RGB", (200, 100)), 50).size == (50, 25)


# --- Files ----------------------------------------------------------------------------------------------------------


def test_the_gif_runs_for_ever_and_rests_at_the_end(
    toy_classifier: Classifier, toy_image: Tensor, landscape: xr.Dataset
) -> None:
    drawn = draw_trajectory(toy_classifier, toy_image, landscape, frames=6)
    gif = Image.open(io.BytesIO(to_gif(drawn)))
    assert gif.n_frames == 6 and gif.info["loop"] == 0 and gif.size == SIZE
    durations = []
    for number in range(gif.n_frames):
        gif.seek(number)
        durations.append(gif.info["duration"])
        error = np.abs(np.asarray(gif.convert("RGB"), np.int16) - np.asarray(drawn[number], np.int16)).mean()
        assert error < 3, "the frame as it was drawn"
    assert durations[0] >= 800 and durations[-1] >= 2000 and set(durations[1:-1]) == {video.FRAME_MS}


def test_a_large_animation_keeps_fewer_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = torch.randint(0, 255, (40, 60, 80), generator=torch.Generator().manual_seed(0)).numpy().astype(np.uint8)
    pictures = [Image.fromarray(each).convert("RGB") for each in noise]
    whole = to_gif(pictures)
    monkeypatch.setattr(video, "MOST_BYTES", len(whole) // 2)
    fewer = Image.open(io.BytesIO(data := to_gif(pictures)))
    assert len(data) <= len(whole) // 2 and video.FEWEST <= fewer.n_frames < 40
    fewer.seek(fewer.n_frames - 1)
    last = np.abs(np.asarray(fewer.convert("RGB"), np.int16) - np.asarray(pictures[-1], np.int16)).mean()
    assert last < 3, "the last one is among them"


def test_a_real_picture_stays_below_two_megabytes() -> None:
    from spatial_viz.data.samples import load_sample
    from spatial_viz.models.registry import load_classifier

    classifier = load_classifier("cifar10/standard")
    image, label = load_sample("cifar10", 6)
    landscape = sweep(classifier, image, label, TransformGrid(30.0, 3.0, 3.0, (7, 3, 3)))
    assert len(to_gif(draw_trajectory(classifier, image, landscape))) <= 2_000_000


def test_mp4_without_ffmpeg_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidInput, match=r"way\.mp4 needs ffmpeg, .*choose a \.gif"):
        save_animation(tmp_path / "way.mp4", [Image.new("RGB", (4, 4))] * 2)
    with pytest.raises(InvalidInput, match=r"a \.gif, or a \.mp4"):
        save_animation(tmp_path / "way.avi", [Image.new("RGB", (4, 4))] * 2)
    assert list(tmp_path.iterdir()) == []


def test_mp4_gets_every_frame_as_long_as_it_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path, 'for last; do :; done; /bin/cat > "$last"')
    monkeypatch.setenv("PATH", str(tmp_path))
    pictures = [Image.new("RGB", (4, 2), (shade, 0, 0)) for shade in (1, 2, 3)]
    save_animation(tmp_path / "way.mp4", pictures)
    shades = (tmp_path / "way.mp4").read_bytes()[:: 4 * 2 * 3]
    assert [shades.count(shade) for shade in (1, 2, 3)] == [14, 1, 39], "a second, a frame, and the rest at the end"


def test_a_failing_ffmpeg_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path, "echo unknown encoder >&2; exit 3")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SpatialVizError, match=r"ffmpeg could not write .*: unknown encoder"):
        save_animation(tmp_path / "way.mp4", [Image.new("RGB", (4, 4))] * 2)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_mp4_by_the_real_ffmpeg(
    toy_classifier: Classifier, toy_image: Tensor, landscape: xr.Dataset, tmp_path: Path
) -> None:
    to_mp4(draw_trajectory(toy_classifier, toy_image, landscape, frames=4), tmp_path / "way.mp4")
    assert b"ftyp" in (tmp_path / "way.mp4").read_bytes()[:64]


def test_frames_say_which_classes_matter(toy_classifier: Classifier, toy_image: Tensor, landscape: xr.Dataset) -> None:
    scene = worst_case_frames._Scene(
        toy_classifier, landscape, trajectory_to_worst(toy_classifier, toy_image, landscape, 5), "", "light"
    )
    assert scene.shown == [0, 1]
