"""Shared fixtures: a toy classifier with a closed-form landscape, and the data beside the project."""

from __future__ import annotations

import csv
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from toys import RADIUS, SIZE, Centroid, blob

from benchmarks.app import CHROMIUM, ROOT, chromium, running_app
from spatial_viz.data.images import picture_to_tensor
from spatial_viz.models.classifier import Classifier


@pytest.fixture(scope="session", autouse=True)
def landscapes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The cache of the tests is not the user's, and what one test has swept no other sweeps again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPATIAL_VIZ_CACHE", str(tmp_path_factory.mktemp("landscapes")))
        yield


@pytest.fixture
def toy_classifier() -> Classifier:
    return Classifier(
        Centroid(), class_names=["left", "right"], input_size=(SIZE, SIZE), mean=(0.0,), std=(1.0,), name="toy"
    )


@pytest.fixture
def toy_image() -> Tensor:
    """A smooth blob, RADIUS pixels to the right of the centre; 1×SIZE×SIZE."""
    return blob(RADIUS, 0.0)


def shared_folder() -> Path:
    return Path(os.environ.get("SPATIAL_VIZ_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The data beside the project; under CI it has to be there."""
    folder = shared_folder()
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"the reference data are missing: {folder}")
        pytest.skip(f"needs the reference data in {folder} (or the folder that SPATIAL_VIZ_SHARED names)")
    return folder


@pytest.fixture(scope="session")
def reference_rows(shared: Path) -> list[dict[str, str]]:
    """The independent answer for the first 500 CIFAR-10 test pictures under a third-party ResNet-20."""
    with open(shared / "reference" / "resnet20_grid.csv", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="session")
def reference_pictures(shared: Path, reference_rows: list[dict[str, str]]) -> dict[str, Tensor]:
    """Those pictures by file name, from the archive, and under "train" the first hundred of the training pictures."""
    wanted = {row["file"] for row in reference_rows}
    found: dict[str, Tensor] = {}
    train: list[Tensor] = []
    with tarfile.open(shared / "data" / "cifar10.tar.gz") as archive:
        for member in archive:
            path = Path(member.name)
            is_wanted = "test" in path.parts and path.stem in wanted
            if not is_wanted and ("train" not in path.parts or path.suffix != ".webp" or len(train) >= 100):
                continue
            handle = archive.extractfile(member)
            if handle is None:
                continue
            image = picture_to_tensor(Image.open(io.BytesIO(handle.read())), 3)
            if is_wanted:
                found[path.stem] = image
            else:
                train.append(image)
    return found | {"train": torch.stack(train)}


@pytest.fixture(scope="session")
def app_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The HOME of the running app, where it writes ``app.log``."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def app(app_home: Path) -> Iterator[str]:
    """The address of a running app."""
    with running_app(app_home) as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "needs Chromium; install it with your system's package manager (Debian: apt-get install chromium)"
        )
    with chromium() as launched:
        yield launched
