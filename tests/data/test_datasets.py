"""Labelled folders and torchvision's data sets."""

from __future__ import annotations

import os
import pickle
import struct
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from encoded_images import encode, noise
from torchvision import datasets

from spatial_viz.data.datasets import PictureFolder, first_per_class, load_dataset
from spatial_viz.data.folders import class_folders, split_folder, split_kind
from spatial_viz.data.samples import CLASS_NAMES
from spatial_viz.errors import InvalidInput, MissingFile, PictureError


def fill(root: Path, **classes: tuple[str, ...]) -> Path:
    data = encode(noise(4, 4))
    for name, files in classes.items():
        (root / name).mkdir(parents=True)
        for file in files:
            path = root / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return root


def test_class_folders_lists_what_torchvision_lists(tmp_path):
    fill(tmp_path, b=("2.png", "1.JPG", "10.png", "notes.txt"), a=("x.webp", "deep/0.png", "Deep/1.tif"), B=("z.PnG",))
    classes, listed, remarks = class_folders(tmp_path)
    reference = datasets.ImageFolder(str(tmp_path))
    assert classes == reference.classes == ["B", "a", "b"]
    assert [(str(path), label) for path, label in listed] == reference.samples
    assert [path.name for path, label in listed if label == 2] == ["1.JPG", "10.png", "2.png"]
    assert remarks == [
        f"left out of {tmp_path}: 1 file by ending (1 .txt); pictures end in .jpg, .jpeg, .png, .ppm, .bmp, .pgm, "
        ".tif, .tiff, .webp"
    ]


def test_class_folders_passes_over_hidden_things(tmp_path):
    fill(tmp_path, a=("1.png", "._1.png", ".DS_Store", ".ipynb_checkpoints/1-checkpoint.png", "deep/.git/lfs/2.png"))
    (tmp_path / ".cache").mkdir()
    classes, listed, remarks = class_folders(tmp_path)
    assert (classes, listed) == (["a"], [(tmp_path / "a" / "1.png", 0)])
    assert remarks == [f"left out of {tmp_path}: 1 hidden picture and 2 hidden folders"]


def test_files_that_are_passed_over_are_counted(tmp_path):
    """No picture that a browser or a phone wrote is dropped without a word."""
    fill(tmp_path, cat=("1.jpg", "2.JFIF", "3.gif", "4.avif", "LICENSE"), dog=("1.jpg", "2.jfif", "3.heic"))
    (tmp_path / "loose.png").touch()
    (remark,) = class_folders(tmp_path).remarks
    ending = "1 picture in no class folder; pictures end in .jpg, .jpeg, .png, .ppm, .bmp, .pgm, .tif, .tiff, .webp"
    assert remark.startswith(f"left out of {tmp_path}: 6 files by ending (2 .jfif, 1 ") and remark.endswith(ending)
    assert all(f"1 {each}" in remark for each in (".gif", ".avif", ".heic", "without one"))
    fill(tmp_path / "phone", cat=("1.heic", "2.heic", ".3.png"), dog=("1.jpg",))
    with pytest.raises(
        InvalidInput, match=r"cat has no pictures \(2 files by ending \(2 \.heic\) and 1 hidden picture"
    ):
        class_folders(tmp_path / "phone")


def test_every_real_folder_counts_once_whatever_links_there_are(tmp_path):
    """A link that loops made 328 pictures of 8, and dogs cats."""
    root = fill(tmp_path / "set", cat=("1.png", "deep/2.png"), dog=("1.png", "2.png"))
    fill(tmp_path, elsewhere=("3.png", "more/4.png"))
    (root / "cat" / "all").symlink_to(root)
    (root / "cat" / "up").symlink_to(tmp_path)
    (root / "cat" / "cousins").symlink_to(root / "dog")
    (root / "cat" / "deep" / "loop").symlink_to(root / "cat")
    (root / "dog" / "itself").symlink_to("itself")
    (root / "dog" / "extern").symlink_to(tmp_path / "elsewhere")
    (root / "dog" / "again").symlink_to(tmp_path / "elsewhere" / "more")
    (tmp_path / "elsewhere" / "back").symlink_to(root / "dog")
    (root / "dog" / "5.png").symlink_to(root / "dog" / "1.png")
    classes, listed, (remark,) = class_folders(root)
    assert classes == ["cat", "dog"]
    assert [str(path.relative_to(root)) for path, label in listed if label == 0] == ["cat/1.png", "cat/deep/2.png"]
    dogs = [str(path.relative_to(root)) for path, label in listed if label == 1]
    assert dogs == ["dog/1.png", "dog/2.png", "dog/5.png", "dog/again/4.png", "dog/extern/3.png"]
    assert "6 links to folders that are there already" in remark


def test_class_folders_may_be_links(tmp_path):
    fill(tmp_path / "pool", a=("1.png",), b=("1.png",))
    (tmp_path / "set").mkdir()
    for name in ("a", "b"):
        (tmp_path / "set" / name).symlink_to(tmp_path / "pool" / name)
    assert class_folders(tmp_path / "set").samples == [
        (tmp_path / "set" / name / "1.png", i) for i, name in ((0, "a"), (1, "b"))
    ]
    (tmp_path / "set" / "c").symlink_to(tmp_path / "pool" / "a")
    with pytest.raises(InvalidInput, match=r"c has no pictures \(1 link to folders that are there already left out\)"):
        class_folders(tmp_path / "set")


def test_names_in_latin_1_become_text(tmp_path):
    raw = os.fsencode(tmp_path)
    for name in (b"caf\xe9", b"th\xe9"):
        os.mkdir(raw + b"/" + name)
        with open(raw + b"/" + name + b"/\xfc.png", "wb") as file:
            file.write(encode(noise(4, 4)))
    folder = PictureFolder(tmp_path)
    assert folder.classes == ["café", "thé"] and folder[1][0].size == (4, 4)
    os.mkdir(tmp_path / "café")
    with pytest.raises(InvalidInput, match="two class folders called 'café'; rename one"):
        class_folders(tmp_path)


def test_class_folders_explains_what_is_wrong(tmp_path):
    with pytest.raises(MissingFile, match=r"there is no folder .*nowhere; expected one with a folder per class"):
        class_folders(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="file is not a folder"):
        class_folders(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="empty has no class folders; expected a folder per class"):
        class_folders(tmp_path / "empty")
    (fill(tmp_path / "set", one=("1.png",)) / "two").mkdir()
    with pytest.raises(InvalidInput, match=r"the class folder .*two has no pictures; expected files that end in \.jpg"):
        class_folders(tmp_path / "set")
    with pytest.raises(InvalidInput, match=r"holds splits \(test, train\), not classes; give .*test$"):
        class_folders(fill(tmp_path / "splits", train=("a/1.png",), test=("a/1.png",)))


# --- Splits ---------------------------------------------------------------------------------------------------------


def layout(root: Path, *folders: str) -> Path:
    """Folders with the classes ``a`` and ``b``; those that end in ``/*`` have pictures themselves."""
    for folder in folders:
        if folder.endswith("/*"):
            fill(root, **{folder[:-2]: ("1.png", "2.png")})
        else:
            fill(root / folder, a=("1.png",), b=("1.png", "2.png"))
    return root


@pytest.mark.parametrize(
    ("folders", "split", "expected"),
    [
        (("Training", "Testing"), "test", "Testing"),
        (("Training", "Testing"), "train", "Training"),
        (("training", "testing"), "test", "testing"),
        (("Train", "Valid"), "val", "Valid"),
        (("TRAIN", "TEST"), "test", "TEST"),
        (("TrainSet", "TestSet"), "train", "TrainSet"),
        (("seg_train/seg_train", "seg_test/seg_test", "seg_pred/*"), "test", "seg_test/seg_test"),
        (("seg_train/seg_train", "seg_test/seg_test", "seg_pred/*"), "train", "seg_train/seg_train"),
        (("seg_train/seg_train", "seg_test/seg_test", "seg_pred/*"), "seg_pred", "seg_pred"),
        (("images_train", "images_val"), "train", "images_train"),
        (("images_train", "images_val"), "test", "images_val"),
        (("train", "val"), "test", "val"),
        (("train", "val", "test"), "test", "test"),
        (("train", "train_extra", "test"), "train", "train"),
        (("train", "train_extra", "test"), "train_extra", "train_extra"),
        (("train", "test/*"), "train", "train"),
        (("train",), "train", "train"),
        (("seg_test",), "test", "seg_test"),
        ((".",), "test", "."),
        (("cat/*", "train/*"), "test", "."),
        (("cat/*", "test/*"), "test", "."),
        (("test_positive/*", "test_negative/*"), "test", "."),
        (("strip test/*", "express train/*", "car/*"), "train", "."),
    ],
)
def test_splits_are_known_by_their_words(folders, split, expected, tmp_path):
    folder, remarks = split_folder(layout(tmp_path, *folders), split)
    assert folder == tmp_path / expected
    if expected not in (split, "."):
        assert remarks[0] in (
            f"the split {split!r} of {tmp_path} is {expected}",
            f"{tmp_path} has no test split, so the pictures for validation in {expected} are taken",
        )
        assert (" no test split" in remarks[0]) == (split_kind(expected) == "val" and split == "test")
    if "seg_pred/*" in folders and split != "seg_pred":
        assert remarks[-1] == f"left out of {tmp_path}: seg_pred, no splits"
    if expected != "seg_pred":
        assert load_dataset("folder", tmp_path, split).classes == class_folders(tmp_path / expected).classes


@pytest.mark.parametrize(
    ("folders", "split", "message"),
    [
        (("train",), "test", "has no split 'test'; its splits are train: give the folder of one itself"),
        (("train", "test"), "val", "has no split 'val'; its splits are test, train"),
        (("train", "val"), "tset", "has no split 'tset'; its splits are train, val"),
        ((".",), "tset", "has no split 'tset': its folders are classes; leave the split out"),
        (("train_a", "train_b", "test"), "train", "has several folders that may be split 'train'"),
        (("train", "car/*", "bus/*"), "train", "has train, which looks like a split, beside bus, car, which do not"),
        (("train/*", "test/*"), "test", "test has no class folders"),
        (("images_train/*", "images_val/*"), "train", "images_train has no class folders"),
    ],
)
def test_splits_that_are_not_there_or_ambiguous_are_explained(folders, split, message, tmp_path):
    with pytest.raises(InvalidInput) as error:
        load_dataset("folder", layout(tmp_path, *folders), split)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_folders_of_splits_are_never_classes(tmp_path):
    for number, folders in enumerate(
        (("Training", "Testing"), ("images_train/*", "images_val/*"), ("seg_train", "seg_test", "x/*"))
    ):
        with pytest.raises(InvalidInput, match=r"holds splits \(.*\), not classes; give"):
            class_folders(layout(tmp_path / str(number), *folders))


LISTED = [(Path("a") / f"{i}.png", 0) for i in range(3)] + [(Path("b") / f"{i}.png", 1) for i in range(5)]


def test_the_first_n_pictures_are_the_first_of_every_class():
    assert first_per_class(LISTED, 4) == [LISTED[0], LISTED[1], LISTED[3], LISTED[4]]
    assert first_per_class(LISTED, 6) == LISTED[:6]


@pytest.mark.parametrize(
    ("listed", "count", "message"),
    [
        (LISTED, 5, "a multiple of the 2 classes, so that each has as many; got 5, try 4"),
        (LISTED, 0, "got 0, try 2"),
        (LISTED, -2, "got -2, try 2"),
        (LISTED, 8, "8 pictures need 4 of each class, and class 0 has 3; ask for at most 6"),
        ([], 2, "there are no pictures to choose from"),
    ],
)
def test_counts_that_do_not_divide_are_explained(listed, count, message):
    with pytest.raises(InvalidInput) as error:
        first_per_class(listed, count)
    assert message in str(error.value)


def cifar_folders(root: Path) -> Path:
    return fill(root, **{name: ("1.png",) for name in CLASS_NAMES["cifar10"]})


def test_load_dataset_reads_labelled_folders(tmp_path):
    cifar_folders(tmp_path / "test")
    for name, root in (("cifar10", tmp_path), ("folder", tmp_path), ("folder", tmp_path / "test")):
        dataset = load_dataset(name, root)
        assert isinstance(dataset, PictureFolder) and len(dataset) == 10
        picture, label = dataset[3]
        assert (picture.size, label, dataset.classes[label]) == ((4, 4), 3, "cat")
    fill(tmp_path / "nette" / "val", n01440764=("1.JPEG",))
    assert len(load_dataset("imagenette", tmp_path / "nette", "test")) == 1


def test_a_bad_picture_in_a_folder_is_named(tmp_path):
    fill(tmp_path, a=("1.png",))
    (tmp_path / "a" / "2.png").write_bytes(b"")
    with pytest.raises(PictureError, match=r"2\.png is empty"):
        load_dataset("folder", tmp_path)[1]


def test_load_dataset_reads_torchvisions_layouts(tmp_path, monkeypatch):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 2), ("t10k", 1)):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + bytes(784 * count))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + b"\x07" * count)
    assert [len(load_dataset("mnist", tmp_path, split)) for split in ("train", "test")] == [2, 1]
    picture, label = load_dataset("mnist", tmp_path)[0]
    assert (picture.mode, picture.size, label) == ("L", (28, 28), 7)

    fill(tmp_path / "imagenette2-160" / "val", n01440764=("1.JPEG",))
    picture, label = load_dataset("imagenette", tmp_path)[0]
    assert (picture.mode, label) == ("RGB", 0)

    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    (batches / "test_batch").write_bytes(pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [5]}))
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CLASS_NAMES["cifar10"])}))
    with pytest.raises(MissingFile, match="cifar-10-batches-py is incomplete or damaged; remove it and fetch it"):
        load_dataset("cifar10", tmp_path)
    monkeypatch.setattr(datasets.CIFAR10, "train_list", [])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", None]])
    monkeypatch.setattr(datasets.CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": None})
    picture, label = load_dataset("cifar10", tmp_path)[0]
    assert (picture.size, label) == ((32, 32), 5)


@pytest.mark.parametrize(
    ("name", "folder"), [("cifar10", "cifar-10-batches-py"), ("mnist", "raw"), ("imagenette", "imagenette2-320")]
)
def test_missing_data_sets_and_failed_downloads_are_explained(name, folder, tmp_path, monkeypatch):
    with pytest.raises(MissingFile) as error:
        load_dataset(name, tmp_path / "new")
    assert f"{folder} is missing; fetch it with download=True, or put the pictures of {name} into" in str(error.value)
    assert not (tmp_path / "new").exists()

    def offline(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(MissingFile) as error:
        load_dataset(name, tmp_path / "new", download=True)
    text = str(error.value)
    assert text.startswith(f"{name} could not be downloaded to {tmp_path / 'new'} (")
    assert "Name or service not known" in text and "check the network" in text and "\n" not in text


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("cifar", "test", "there is no data set 'cifar'; did you mean 'cifar10'? available: cifar10"),
        ("mnist", "tset", "mnist has no split 'tset'; did you mean 'test'? available: test, train"),
        ("cifar10", "train", "should have the class folders of cifar10 (airplane, automobile"),
    ],
)
def test_load_dataset_explains_wrong_names(name, split, message, tmp_path):
    fill(tmp_path / "train", cat=("1.png",), dog=("1.png",))
    with pytest.raises(InvalidInput) as error:
        load_dataset(name, tmp_path, split)
    assert message in str(error.value)


def test_the_size_of_a_picture_is_known_without_decoding_it(tmp_path):
    fill(tmp_path, a=("0.png",))
    turned = noise(6, 4)
    exif = turned.getexif()
    exif[0x0112] = 8
    (tmp_path / "a" / "1.jpg").write_bytes(encode(turned, "JPEG", exif=exif))
    cut = encode(noise(50, 40))
    (tmp_path / "a" / "2.png").write_bytes(cut[: len(cut) // 2])
    (tmp_path / "a" / "3.png").write_text("no picture")
    os.mkfifo(tmp_path / "a" / "4.png")
    folder = PictureFolder(tmp_path)
    sizes = [folder.size(index) for index in range(len(folder))]
    assert sizes == [(4, 4), (4, 6), (50, 40), None, None]
    assert folder[1][0].size == (4, 6)
