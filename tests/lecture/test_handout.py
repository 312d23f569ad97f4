"""The handout: its pages, its words, which can be selected, and its command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from command_line import run
from printed_pages import text_of
from torch import Tensor

from spatial_viz.data.samples import load_sample
from spatial_viz.errors import InvalidInput
from spatial_viz.landscape.dataset import worst_case
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.lecture import handout as module
from spatial_viz.lecture.handout import Chosen, handout, usual_classifiers
from spatial_viz.models.classifier import Classifier
from spatial_viz.models.registry import load_classifier, manifest
from spatial_viz.transforms.grids import TransformGrid
from spatial_viz.version import VERSION

SMALL = TransformGrid(30.0, 3.0, 3.0, (5, 3, 3))


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPATIAL_VIZ_CACHE", str(tmp_path / "cache"))


def chosen(classifier: Classifier, index: int) -> Chosen:
    image, label = load_sample("cifar10", index)
    return Chosen(classifier.prepare(image), label, f"{classifier.class_names[label]} (cifar10/{index})")


def test_the_story_the_pictures_and_the_numbers(tmp_path: Path) -> None:
    names = usual_classifiers("cifar10")
    assert names == ["cifar10/standard", "cifar10/worst-of-10-30"]
    classifiers = [load_classifier(name) for name in names]
    one = chosen(classifiers[0], 6)
    done: list[tuple[int, int]] = []
    pdf = handout([one, chosen(classifiers[0], 4)], classifiers, grid=SMALL, link="http://192.168.1.2:8501/lecture?step=16",
                  progress=lambda *at: done.append(at))  # fmt: skip
    assert pdf.startswith(b"%PDF-") and len(pdf) < 500_000 and done == [(1, 2), (2, 2)]
    pages = text_of(pdf)
    assert len(pages) == 3, "the story, two pictures on a page, the numbers"
    for title, text in module.STORY.items():
        assert title in pages[0]
        assert text.split(".")[0].replace("**", "").split()[-1] in pages[0]
    assert "Mądry" in pages[0] and "ℓ∞ distance" in re.sub(r"\s+", " ", pages[0])
    assert b"/URI (http://192.168.1.2:8501/lecture?step=16)" in pdf and b"engstrom19a" in pdf
    swept = [sweep(classifier, one.image, one.label, SMALL) for classifier in classifiers]
    for landscape in swept:
        worst = worst_case(landscape)
        assert f"✕ {worst.name}, {100 * worst.confidence:.0f}\u00a0%" in pages[1]
        assert worst.transform.describe()[:12].capitalize() in pages[1]
    assert "cifar10/standard and cifar10/worst-of-10-30" in pages[1]
    assert "5 × 3 × 3 transforms" in pages[1] and f"spatial_viz {VERSION}" in pages[1]
    card = manifest()[0]
    for share in ("93%", "3%", "71%", "76%", "31%", "53%", f"{card.accuracies['natural'].accuracy:.1%}"):
        assert share in pages[2], "published and measured"
    assert "the talk's slides (ICML 2019)" in pages[2] and f"{card.accuracies['grid'].pictures:,}" in pages[2]
    assert b"/Lang (en)" in pdf and pdf.count(b"/Alt ") >= 2 * (1 + 2 + 2 + 1), "pictures, maps and scales have words"


def test_names_of_others_are_text(toy_classifier: Classifier, toy_image: Tensor) -> None:
    rude = Classifier(
        toy_classifier.network, class_names=["**left** [x](http://evil.example)", "_right_"], input_size=(32, 32),
        mean=(0.0,), std=(1.0,), name="*toy*",
    )  # fmt: skip
    pdf = handout([Chosen(toy_image, None, "**own** [p](http://evil.example).png")], [rude], grid=SMALL)
    text = " ".join(text_of(pdf))
    assert "**own** [p](http://evil.example).png" in text and "*toy*" in text
    assert b"/URI (http://evil" not in pdf
    assert "change the prediction" in text or "another prediction" in text


@pytest.mark.parametrize("granularity", [(5, 1, 1), (1, 3, 3), (1, 1, 1)])
def test_axes_that_do_not_move(
    granularity: tuple[int, int, int], toy_classifier: Classifier, toy_image: Tensor
) -> None:
    pdf = handout([Chosen(toy_image, 0, "blob")], [toy_classifier], grid=TransformGrid(30.0, 3.0, 3.0, granularity))
    assert "blob" in text_of(pdf)[1]


def test_many_pictures_stay_on_their_pages(toy_classifier: Classifier, toy_image: Tensor) -> None:
    pdf = handout([Chosen(toy_image, 0, f"blob {n}") for n in range(5)], [toy_classifier] * 3, grid=SMALL)
    pages = text_of(pdf)
    for number in range(5):
        assert sum(f"blob {number}" in page for page in pages) == 1, "a picture is not torn apart"


def test_what_is_refused(toy_classifier: Classifier, toy_image: Tensor) -> None:
    one = Chosen(toy_image, 0, "blob")
    other = Classifier(toy_classifier.network, class_names=["a", "b"], input_size=(32, 32), mean=(0.0,), std=(1.0,))
    with pytest.raises(InvalidInput, match="1 to 12 pictures; got 0"):
        handout([], [toy_classifier])
    with pytest.raises(InvalidInput, match="1 to 12 pictures; got 13"):
        handout([one] * 13, [toy_classifier])
    with pytest.raises(InvalidInput, match="1 to 3 classifiers; got 4"):
        handout([one], [toy_classifier] * 4)
    with pytest.raises(InvalidInput, match="do not know the same classes"):
        handout([one], [toy_classifier, other])


def test_data_without_classifiers_of_our_own() -> None:
    assert usual_classifiers("imagenet") == []


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "handout.pdf"
    from PIL import Image

    Image.new("RGB", (50, 40), "teal").save(tmp_path / "own.png")
    options = ["--granularity", "3,3,3", "--classifier", "cifar10/standard", "--out", str(path)]
    code, out, _ = run(["handout", "sample:cifar10/6", str(tmp_path / "own.png"), *options], monkeypatch, capsys)
    assert code == 0 and str(path) in out
    text = " ".join(text_of(path.read_bytes()))
    assert "automobile (cifar10/6)" in text and "own.png, no label" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["handout"], "Missing argument"),
        (["handout", "sample:cifar10/99"], "0 to 19"),
        (["handout", "sample:cifar10/0", "--classifier", "cifar10/standrad"], "did you mean 'cifar10/standard'"),
        (["handout", "sample:cifar10/0", "--classifier", ",".join(["cifar10/standard"] * 4)], "1 to 3 classifiers"),
        (["handout", "sample:cifar10/0", "--out", "no/such/folder/x.pdf"], "there is no folder"),
        (["handout", "sample:cifar10/0", "--padding", "white"], "black, reflect, edge"),
    ],
)
def test_bad_arguments(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(arguments, monkeypatch, capsys)
    assert code == 2 and out == "" and message in err and err.count("\n") == 1
