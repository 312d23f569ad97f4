"""The search for a sample that breaks a classifier, against pictures whose landscape is known in closed form."""

from __future__ import annotations

from pathlib import Path

import pytest
from toys import blob

from spatial_viz.data.images import load_image, tensor_to_picture
from spatial_viz.data.samples import Sample
from spatial_viz.errors import InvalidInput
from spatial_viz.lecture.hardest_sample import find_failing_sample
from spatial_viz.models.classifier import Classifier
from spatial_viz.transforms.grids import TransformGrid

TURNS = TransformGrid(30.0, 0.0, 0.0, (5, 1, 1))
# How far to the right of the centre a blob is, and its class. A blob far to the right is turned into the other class.
SURVIVES, BROKEN, BROKEN_WORSE, WRONG_AS_IT_IS = (-8.0, 0), (8.0, 0), (9.0, 0), (9.0, 1)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sample]:
    """The samples there are; a test adds to them."""
    found: list[Sample] = []
    monkeypatch.setattr("spatial_viz.lecture.hardest_sample.samples", lambda dataset: found)
    return found


def put(shelf: list[Sample], folder: Path, *blobs: tuple[float, int]) -> None:
    for right, label in blobs:
        path = folder / f"{len(shelf)}.png"
        tensor_to_picture(blob(right, 0.0)).save(path)
        shelf.append(Sample("toy", len(shelf), label, path))


def test_the_worst_broken_one_is_found(toy_classifier: Classifier, shelf: list[Sample], tmp_path: Path) -> None:
    put(shelf, tmp_path, SURVIVES, BROKEN, BROKEN_WORSE, WRONG_AS_IT_IS)
    assert find_failing_sample(toy_classifier, "toy", TURNS, "black") == shelf[2]


def test_the_picture_at_hand_is_not_the_answer(toy_classifier: Classifier, shelf: list[Sample], tmp_path: Path) -> None:
    put(shelf, tmp_path, BROKEN_WORSE, BROKEN)
    at_hand = toy_classifier.prepare(load_image(shelf[0].path))
    assert find_failing_sample(toy_classifier, "toy", TURNS, "black", besides=at_hand) == shelf[1]


def test_where_all_survive_there_is_none(toy_classifier: Classifier, shelf: list[Sample], tmp_path: Path) -> None:
    put(shelf, tmp_path, SURVIVES, WRONG_AS_IT_IS)
    told: list[tuple[int, int]] = []
    found = find_failing_sample(toy_classifier, "toy", TURNS, "black", lambda *done: told.append(done))
    assert found is None and told and set(told) == {(0, 2)}


def test_what_breaks_between_the_extremes_is_found(
    toy_classifier: Classifier, shelf: list[Sample], tmp_path: Path
) -> None:
    put(shelf, tmp_path, (4.9, 0))  # misclassified only when turned by about 68° to the right
    assert find_failing_sample(toy_classifier, "toy", TransformGrid(90.0, 0, 0, (3, 1, 1)), "black") is None
    assert find_failing_sample(toy_classifier, "toy", TransformGrid(90.0, 0, 0, (9, 1, 1)), "black") == shelf[0]


def test_a_data_set_without_samples_is_refused(toy_classifier: Classifier) -> None:
    with pytest.raises(InvalidInput, match="no sample pictures"):
        find_failing_sample(toy_classifier, "nowhere", TURNS, "black")
