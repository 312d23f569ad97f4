"""The pictures that a training is given: which ones, at which size, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from toy_training import toy_pictures

from spatial_viz.data.images import load_image
from spatial_viz.errors import InvalidInput, MissingFile, SpatialVizWarning
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.networks import build_network, count_parameters
from spatial_viz.training.data import PictureSet, augment, default_validation, read, split_validation, to_images


def save(path: Path, size: tuple[int, int], mode: str = "RGB", seed: int = 0) -> Path:
    """Noise of (width, height) pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(values).convert(mode).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of three pictures each, 20×18."""
    for name in ("b", "a"):
        for number in range(3):
            save(tmp_path / "own" / name / f"{number}.png", (20, 18), seed=number)
    return tmp_path / "own"


def test_digits_are_never_mirrored() -> None:
    pictures = toy_pictures()
    plain = to_images(pictures.pictures)
    everything = torch.arange(len(pictures))
    handed = PictureSet(pictures.pictures, pictures.labels, pictures.class_names, mirrored=False)
    for epoch in range(2):
        assert torch.equal(augment(handed, everything, epoch, seed=0, crop=False), plain)
        assert not torch.equal(augment(pictures, everything, epoch, seed=0, crop=False), plain)
    assert not handed.subset(everything[:3]).mirrored


def test_the_network_for_digits_fits_into_a_megabyte() -> None:
    network = build_network("tiny-convnet", classes=10, channels=1)
    assert 2 * count_parameters(network) < 1_000_000  # bytes as float16
    assert network(torch.rand(2, 1, 28, 28)).shape == (2, 10)


def test_pictures_of_one_size_stay_as_they_are(folder: Path) -> None:
    told: list[str] = []
    data = read(str(folder), tell=told.append)
    assert data.class_names == ("a", "b") and data.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert data.pictures.shape == (6, 18, 20, 3) and data.pictures.dtype == torch.uint8
    assert np.array_equal(data.pictures[2], np.asarray(Image.open(folder / "a" / "2.png")))
    assert not told and data.held_out == 0 and data.mirrored


def test_pictures_of_mixed_sizes_become_what_a_classifier_would_see(folder: Path) -> None:
    wide = save(folder / "b" / "wide.png", (90, 30))
    sideways = Image.open(save(folder / "b" / "tall.jpg", (40, 60)))
    exif = sideways.getexif()
    exif[0x0112] = 6  # to be turned a quarter: 60×40 when upright
    sideways.save(folder / "b" / "tall.jpg", exif=exif)
    told: list[str] = []
    data = read(str(folder), tell=told.append)
    assert data.pictures.shape[1:3] == (18, 18)  # the median of the shorter sides
    assert told == [
        "the pictures, 18 to 40 pixels at their shorter side, become 18×18: the shorter side resized, "
        "the centre cropped; --size takes another"
    ]
    larger = read(str(folder), size=24)
    classifier = Classifier(torch.nn.Identity(), class_names=larger.class_names, input_size=(24, 24))
    for path, number in ((wide, 7), (folder / "b" / "tall.jpg", 6)):
        assert torch.equal(to_images(larger.pictures[number : number + 1])[0], classifier.prepare(load_image(path)))


def test_large_pictures_become_smaller_and_tiny_ones_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(tmp_path / "large" / name / "0.png", (200, 150))
        save(tmp_path / "tiny" / name / "0.png", (8, 6))
        save(tmp_path / "wide" / name / "0.png", (100, 40))
    assert read(str(tmp_path / "large")).pictures.shape == (2, 64, 64, 3)
    assert read(str(tmp_path / "wide")).pictures.shape == (2, 40, 40, 3)
    assert read(str(tmp_path / "large"), size=100).pictures.shape == (2, 100, 100, 3)
    with pytest.raises(InvalidInput, match="8×6 pixels are too small to train on; --size makes them larger"):
        read(str(tmp_path / "tiny"))
    assert read(str(tmp_path / "tiny"), size=16).pictures.shape == (2, 16, 16, 3)
    for size in (0, 15, 513):
        with pytest.raises(InvalidInput, match=f"--size takes 16 to 512 pixels; got {size}"):
            read(str(tmp_path / "large"), size=size)


def test_grey_pictures_stay_grey_only_among_themselves(tmp_path: Path) -> None:
    grey = save(tmp_path / "a" / "0.png", (16, 16), "L")
    save(tmp_path / "b" / "0.png", (16, 16), "1")
    assert read(str(tmp_path)).pictures.shape == (2, 16, 16, 1)
    save(tmp_path / "b" / "1.png", (16, 16), "P")
    data = read(str(tmp_path))
    assert data.pictures.shape == (3, 16, 16, 3)
    assert np.array_equal(data.pictures[0], np.asarray(Image.open(grey).convert("RGB")))


def test_files_that_cannot_be_read_are_left_out_named_and_counted(folder: Path) -> None:
    (folder / "a" / "1.png").write_bytes(b"")
    whole = (folder / "b" / "0.png").read_bytes()
    (folder / "b" / "0.png").write_bytes(whole[: len(whole) // 2])
    (folder / "b" / "words.png").write_text("no picture")
    told: list[str] = []
    data = read(str(folder), tell=told.append)
    assert data.labels.tolist() == [0, 0, 1, 1]
    (sentence,) = told
    lines = sentence.splitlines()
    assert lines[0] == "3 of 7 files are left out:" and len(lines) == 4
    assert f"{folder / 'a' / '1.png'} is empty" in lines[1]
    assert f"{folder / 'b' / '0.png'} is damaged or cut short" in lines[2]
    assert f"{folder / 'b' / 'words.png'} is not a picture" in lines[3]


def test_of_very_many_unreadable_files_the_first_are_named(folder: Path) -> None:
    for number in range(30):
        (folder / "a" / f"x{number:02}.png").touch()
    told: list[str] = []
    read(str(folder), tell=told.append)
    lines = told[0].splitlines()
    assert lines[0] == "30 of 36 files are left out:" and len(lines) == 22 and lines[-1] == "  and 10 more"


def test_classes_that_nothing_can_be_learnt_of_are_refused(folder: Path) -> None:
    (folder / "c").mkdir()
    with pytest.raises(InvalidInput, match=r"the class folder .*c has no pictures"):
        read(str(folder))
    (folder / "c" / "0.png").touch()
    with pytest.raises(InvalidInput, match="the class 'c' has no training picture that can be read; mend its files"):
        read(str(folder), tell=print)
    save(folder / "alone" / "one" / "0.png", (20, 20))
    with pytest.raises(InvalidInput, match=r"needs at least two classes; .*alone has only 'one'"):
        read(str(folder / "alone"))
    with pytest.raises(MissingFile, match=r"there is no folder .*nowhere; expected one with a folder per class"):
        read(str(folder / "nowhere"))


def test_a_folder_of_validation_pictures_is_the_one_held_out(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("val", 2), ("test", 1)):
        for name in ("a", "b"):
            for number in range(count):
                save(tmp_path / split / name / f"{number}.png", (16, 16), seed=len(split) * 10 + number)
    data = read(str(tmp_path))
    assert default_validation(data) == 4
    with pytest.raises(InvalidInput, match="has 4 pictures for validation of its own; leave --validation 3 out"):
        split_validation(data, 3)
    training, validation = split_validation(data, 4)
    assert (len(training), len(validation)) == (8, 4) and validation.labels.tolist() == [0, 0, 1, 1]
    assert np.array_equal(validation.pictures[1], np.asarray(Image.open(tmp_path / "val" / "a" / "1.png")))
    assert len(read(str(tmp_path), split="test")) == 2

    save(tmp_path / "val" / "c" / "0.png", (16, 16))
    with pytest.raises(InvalidInput, match=r"val must have the class folders of .*train: a, b; got a, b, c"):
        read(str(tmp_path))


@pytest.mark.parametrize(
    ("train", "validation"),
    [("Training", "Validation"), ("seg_train/seg_train", "seg_val/seg_val"), ("images_train", "images_val")],
)
def test_both_splits_are_found_by_their_words(folder: Path, tmp_path: Path, train: str, validation: str) -> None:
    (tmp_path / train).parent.mkdir(exist_ok=True)
    folder.rename(tmp_path / train)
    for name in ("a", "b"):
        save(tmp_path / validation / name / "0.png", (20, 18))
    (tmp_path / train / "a" / "4.jfif").touch()
    told: list[str] = []
    data = read(str(tmp_path), tell=told.append)
    assert data.class_names == ("a", "b") and (len(data), data.held_out) == (8, 2)
    assert told[0] == f"the split 'train' of {tmp_path} is {train}"
    assert told[1].startswith(f"left out of {tmp_path / train}: 1 file by ending (1 .jfif); pictures end in .jpg")
    assert told[2] == f"the split 'val' of {tmp_path} is {validation}"
    # Given by itself, it has the same validation pictures.
    assert read(str(tmp_path / train), tell=print).held_out == (2 if "/" not in train else 0)


def test_what_is_left_out_is_a_warning_where_nobody_is_told(folder: Path) -> None:
    (folder / "a" / "3.gif").touch()
    (folder / "a" / "4.png").touch()
    with pytest.warns(SpatialVizWarning) as told:
        read(str(folder))
    first, second = (str(warning.message) for warning in told)
    assert "1 file by ending (1 .gif)" in first and "1 of 7 files are left out:" in second


def test_a_folder_around_the_classes_is_no_class(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "wrapped").mkdir()
    folder.rename(tmp_path / "wrapped" / "dataset")
    with pytest.raises(InvalidInput, match=r"has only 'dataset'; if the classes are in there, give .*wrapped/dataset$"):
        read(str(tmp_path / "wrapped"))


def test_validation_pictures_that_cannot_be_read_are_no_validation(folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "train")
    for name in ("a", "b"):
        (tmp_path / "val" / name).mkdir(parents=True)
        (tmp_path / "val" / name / "0.png").touch()
    with pytest.raises(InvalidInput, match=r"no picture in .*val can be read; mend them or remove the folder"):
        read(str(tmp_path), tell=print)


def test_no_class_is_held_out_whole(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="6 of 6 pictures held out for validation leave none of the class 'a'"):
        split_validation(read(str(folder)), 6)


def test_a_tenth_is_held_out_where_nobody_says(folder: Path) -> None:
    assert default_validation(toy_pictures(120)) == 12 and default_validation(read(str(folder))) == 0
    many = PictureSet(torch.empty(60_000, 0), torch.zeros(60_000), ("a", "b"))
    assert default_validation(many) == 5000
