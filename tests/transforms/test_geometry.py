"""The warp against hand-checkable arrays and two independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tv
from toys import blob

from spatial_viz.data.samples import load_sample
from spatial_viz.errors import InvalidInput
from spatial_viz.transforms.geometry import warp

TRANSFORMS = [(0, 0, 0), (30, 0, 0), (-17, 1.5, -3), (12.5, -2.25, 0.5), (90, 1, 2), (-180, 0, 0), (4, 40, 0)]


def eight() -> torch.Tensor:
    """1..8 in two rows of four."""
    return torch.arange(1.0, 9.0).reshape(1, 1, 2, 4)


def move(image: torch.Tensor, rotation: float = 0, dx: float = 0, dy: float = 0, **options: str) -> np.ndarray:
    return warp(image, torch.tensor([[rotation, dx, dy]], dtype=torch.float64), **options)[0, 0].numpy()


def scipy_warp(image: np.ndarray, rotation: float, dx: float, dy: float, mode: str) -> np.ndarray:
    """Bilinear resampling by scipy; written from the convention, in row/column matrices."""
    height, width = image.shape[1:]
    t = np.deg2rad(rotation)
    # (row, column) → source (row, column): undo the shift, then turn back.
    matrix = np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]])
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    offset = centre - matrix @ (centre + np.array([dy, dx]))
    planes = [scipy.ndimage.affine_transform(plane, matrix, offset, order=1, mode=mode) for plane in image]
    return np.stack(planes)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        ((0, 0, 0), [[1, 2, 3, 4], [5, 6, 7, 8]]),
        ((0, 1, 0), [[0, 1, 2, 3], [0, 5, 6, 7]]),
        ((0, -1, 0), [[2, 3, 4, 0], [6, 7, 8, 0]]),
        ((0, 0, 1), [[0, 0, 0, 0], [1, 2, 3, 4]]),
        ((0, 0.5, 0), [[0.5, 1.5, 2.5, 3.5], [2.5, 5.5, 6.5, 7.5]]),
        ((180, 0, 0), [[8, 7, 6, 5], [4, 3, 2, 1]]),
        ((90, 0, 0), [[0, 3, 7, 0], [0, 2, 6, 0]]),  # the right half comes up, the columns become rows
        ((90, 1, 0), [[0, 0, 3, 7], [0, 0, 2, 6]]),  # turned first, moved second
    ],
)
def test_by_hand(transform: tuple[float, float, float], expected: list[list[float]]) -> None:
    np.testing.assert_allclose(move(eight(), *transform), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        ("black", [[0, 0, 1, 2], [0, 0, 5, 6]]),
        ("edge", [[1, 1, 1, 2], [5, 5, 5, 6]]),
        ("reflect", [[3, 2, 1, 2], [7, 6, 5, 6]]),
    ],
)
def test_paddings_by_hand(padding: str, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(move(eight(), dx=2, padding=padding), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("transform", "place"),
    [((0, 3, 0), (3, 0)), ((0, 0, 3), (0, 3)), ((90, 0, 0), (0, -8)), ((-90, 0, 0), (0, 8)), ((90, 2, 1), (2, -7))],
)
def test_a_blob_goes_where_the_convention_says(transform: tuple[float, ...], place: tuple[float, float]) -> None:
    """Counter-clockwise as displayed takes the right end up; a positive shift goes right and down."""
    start = blob(0, 0) if transform[0] == 0 else blob(8, 0)
    np.testing.assert_allclose(move(start[None], *transform), blob(*place)[0].numpy(), atol=2e-2)


@pytest.mark.parametrize("crop", [(32, 32), (32, 21), (19, 32)])
@pytest.mark.parametrize(("padding", "mode"), [("black", "constant"), ("edge", "nearest"), ("reflect", "mirror")])
def test_against_scipy(crop: tuple[int, int], padding: str, mode: str) -> None:
    image = load_sample("cifar10", 3)[0][:, : crop[0], : crop[1]].double()
    for transform in TRANSFORMS:
        ours = warp(image[None], torch.tensor([transform], dtype=torch.float64), padding)[0].numpy()
        theirs = scipy_warp(image.numpy(), *transform, mode=mode)
        # scipy cuts to zero at the outermost pixel centre, we fade over one pixel: compare inside.
        inside = scipy_warp(np.ones_like(image.numpy()), *transform, mode="constant") > 0.999
        where = inside if padding == "black" else np.ones_like(inside)
        np.testing.assert_allclose(ours[where], theirs[where], atol=1e-6, err_msg=str(transform))
        if padding == "black":
            faded = np.pad(image.numpy(), ((0, 0), (2, 2), (2, 2)))
            framed = scipy_warp(faded, *transform, mode="constant")[:, 2:-2, 2:-2]
            np.testing.assert_allclose(ours, framed, atol=1e-6, err_msg=str(transform))


@pytest.mark.parametrize("crop", [(32, 32), (32, 21), (19, 32)])
def test_against_torchvision(crop: tuple[int, int]) -> None:
    """torchvision's ``affine`` turns clockwise and takes whole pixels; its picture of float pixels is bilinear."""
    image = load_sample("cifar10", 5)[0][:, : crop[0], : crop[1]]
    for rotation, dx, dy in [(0, 0, 0), (30, 0, 0), (-17, 2, -3), (12.5, -1, 1)]:
        theirs = tv.affine(image, -rotation, [dx, dy], 1.0, [0.0, 0.0], InterpolationMode.BILINEAR)
        ours = warp(image[None], torch.tensor([[rotation, dx, dy]], dtype=torch.float32))[0]
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=2e-4)


def test_pictures_and_transforms_pair_up() -> None:
    images = torch.rand(3, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    transforms = torch.tensor([[10.0, 1, 0], [-20, 0, 2], [0, 0.5, 0.5]])
    paired = warp(images, transforms)
    for index in range(3):
        torch.testing.assert_close(paired[index], warp(images[index : index + 1], transforms[index : index + 1])[0])
        torch.testing.assert_close(
            warp(images[:1], transforms)[index], warp(images[:1], transforms[index : index + 1])[0]
        )
        torch.testing.assert_close(
            warp(images, transforms[:1])[index], warp(images[index : index + 1], transforms[:1])[0]
        )


def test_there_and_back_inside_the_disc() -> None:
    image = blob(3, -4, width=3.0)[None]
    for angle in (10.0, 25.0, 63.0):
        back = move(warp(image, torch.tensor([[angle, 0.0, 0.0]])), -angle)
        np.testing.assert_allclose(back, image[0, 0].numpy(), atol=0.06)


def test_gradient_against_finite_differences() -> None:
    image = blob(5, 2)[None].double()
    weights = torch.rand(32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    transform = torch.tensor([[7.3, 0.4, -0.7]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: (warp(image, t) * weights).sum(), transform, eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_keep_their_dtype_and_precise_coordinates(dtype: torch.dtype) -> None:
    image = load_sample("cifar10", 0)[0][None]
    transform = torch.tensor([[29.0, 2.9, -2.9]])
    warped = warp(image.to(dtype), transform)
    assert warped.dtype == dtype
    torch.testing.assert_close(warped.float(), warp(image, transform), atol=1e-2, rtol=0)


def test_pictures_of_one_pixel_width() -> None:
    column = torch.ones(1, 1, 5, 1)
    np.testing.assert_allclose(move(column, dx=1), np.zeros((5, 1)), atol=1e-6)
    for padding in ("edge", "reflect"):
        np.testing.assert_allclose(move(column, dx=1, padding=padding), np.ones((5, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("images", "transforms", "padding", "message"),
    [
        (torch.zeros(3, 8, 8), torch.zeros(1, 3), "black", "N×C×H×W"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 3), "black", "floating"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(3), "black", "N×3"),
        (torch.zeros(2, 3, 8, 8), torch.zeros(5, 3), "black", "2 pictures and 5 transforms"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 3), "white", "black, reflect, edge"),
    ],
)
def test_bad_input(images: torch.Tensor, transforms: torch.Tensor, padding: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        warp(images, transforms, padding)
