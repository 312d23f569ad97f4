"""Laws of the landscape: severity order, worst case, slices, save and load."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import SIZE, Centroid, blob

from spatial_viz.errors import CorruptFile, InvalidInput, MissingFile
from spatial_viz.landscape import dataset as ls
from spatial_viz.landscape.sweeps import sweep
from spatial_viz.models.classifier import Classifier
from spatial_viz.transforms.grids import TransformGrid


def toy(label: int | None = 0, grid: TransformGrid | None = None) -> xr.Dataset:
    classifier = Classifier(Centroid(), class_names=["left", "right"], input_size=(SIZE, SIZE), mean=(0,), std=(1,))
    return sweep(classifier, blob(8, 0), label, grid)


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([-2.0, 0.0, 1.0]),
            st.sampled_from([-1.0, 0.0, 1.0]), st.sampled_from([0.0, 1.0]),
        ),
        min_size=1, max_size=12,
    )
)  # fmt: skip
def test_severity_order_is_the_one_of_the_definition(cells: list[tuple[bool, float, float, float, float]]) -> None:
    wrong, loss, rotation, dx, dy = (np.array(column) for column in zip(*cells, strict=True))
    keys = [(not w, -x, abs(r), np.hypot(a, b), i) for i, (w, x, r, a, b) in enumerate(cells)]
    expected = sorted(range(len(cells)), key=keys.__getitem__)
    assert ls.severity_order(wrong, loss, rotation, dx, dy).tolist() == expected


def test_a_misclassified_cell_comes_before_a_correct_one_of_higher_loss() -> None:
    order = ls.severity_order(np.array([False, True]), np.array([9.0, 1.0]), *np.zeros((3, 2)))
    assert order[0] == 1


def test_no_cell_stands_before_the_worst_case() -> None:
    landscape = toy()
    worst = ls.worst_case(landscape)
    wrong = ls.misclassified(landscape)
    assert worst.misclassified == bool(wrong.any())
    assert worst.loss == float(landscape["loss"].where(wrong).max())
    at = landscape.sel(rotation=worst.rotation, dx=worst.dx, dy=worst.dy)
    assert float(at["loss"]) == worst.loss and int(at["predicted"]) == worst.predicted and worst.name == "right"


@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.integers(1, 4)] * 3), st.floats(0, 45), st.floats(0, 4), st.floats(0, 4))
def test_a_finer_nested_grid_never_moves_the_worst_case_back(
    coarse: tuple[int, int, int], rotation: float, dx: float, dy: float
) -> None:
    fine = tuple(1 + 2 * (n - 1) if n > 1 else 1 for n in coarse)  # every value of the coarse grid is in it
    first = ls.worst_case(toy(grid=TransformGrid(rotation, dx, dy, coarse)))
    second = ls.worst_case(toy(grid=TransformGrid(rotation, dx, dy, fine)))  # type: ignore[arg-type]
    assert (second.misclassified, second.loss + 1e-5) >= (first.misclassified, first.loss)


def test_the_identity_cell_is_the_natural_result() -> None:
    landscape = toy()
    identity = landscape.sel(rotation=0, dx=0, dy=0)
    assert float(identity["loss"]) == pytest.approx(float(landscape["natural_loss"]), abs=1e-5)
    assert int(identity["predicted"]) == int(landscape["natural_predicted"])
    assert float(identity["confidence"]) == pytest.approx(float(landscape["natural_confidence"]), abs=1e-5)


def test_a_picture_without_a_label_is_held_against_its_prediction() -> None:
    landscape = toy(label=None)
    assert ls.label_of(landscape) == int(landscape["natural_predicted"])
    assert not ls.has_label(landscape)


def test_planes_are_slices_or_maxima() -> None:
    landscape = toy()
    fixed = ls.plane(landscape, "dy", 1.4)
    np.testing.assert_array_equal(fixed["loss"], landscape["loss"].sel(dy=1.5))
    highest = ls.plane(landscape, "rotation")
    np.testing.assert_array_equal(highest["loss"], landscape["loss"].max("rotation"))
    np.testing.assert_array_equal(highest["misclassified"], ls.misclassified(landscape).any("rotation"))
    with pytest.raises(InvalidInput, match="unknown axis 'dz'; did you mean"):
        ls.plane(landscape, "dz")


def test_coordinates_carry_units() -> None:
    landscape = toy()
    assert [landscape[dim].attrs["units"] for dim in ls.DIMS] == ["degree", "pixel", "pixel"]
    assert landscape["loss"].attrs["units"] == "nats"
    assert landscape["loss"].dims == ls.DIMS


def test_save_then_load_is_identical(tmp_path: Path) -> None:
    landscape = toy()
    ls.save(landscape, tmp_path / "a.nc")
    again = ls.load(tmp_path / "a.nc")
    xr.testing.assert_identical(landscape, again)
    assert {name: v.dtype for name, v in landscape.variables.items()} == {
        n: v.dtype for n, v in again.variables.items()
    }
    assert os.listdir(tmp_path) == ["a.nc"]


def test_bytes_are_the_file(tmp_path: Path) -> None:
    landscape = toy()
    (tmp_path / "b.nc").write_bytes(ls.to_bytes(landscape))
    xr.testing.assert_identical(landscape, ls.load(tmp_path / "b.nc"))


def test_files_that_are_no_landscape(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="there is no landscape"):
        ls.load(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("hello")
    with pytest.raises(CorruptFile, match="not a readable NetCDF-4 file"):
        ls.load(tmp_path / "text.nc")
    xr.Dataset({"x": 1}).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(CorruptFile, match="not a landscape of schema 1"):
        ls.load(tmp_path / "other.nc")
    with pytest.raises(InvalidInput, match="cannot write"):
        ls.save(toy(), tmp_path / "missing" / "a.nc")


def test_csv_has_a_row_per_transform() -> None:
    landscape = toy()
    rows = list(csv.DictReader(io.StringIO(ls.to_csv(landscape))))
    assert len(rows) == 775
    assert sum(row["misclassified"] == "True" for row in rows) == int(ls.misclassified(landscape).sum())
    first = torch.tensor([float(rows[0][axis]) for axis in ("rotation", "dx", "dy")])
    assert torch.equal(first, TransformGrid().transforms()[0])


def test_summary_is_plain_json_types() -> None:
    result = ls.landscape_summary(toy())
    assert result["transforms"] == 775 and isinstance(result["worst_case"]["misclassified"], bool)
    assert set(result["worst_case"]) == {
        "rotation", "dx", "dy", "loss", "predicted", "name", "confidence", "misclassified",
    }  # fmt: skip
