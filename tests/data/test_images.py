import contextlib
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from encoded_images import DETECTOR, encode, noise, png16, png_chunk, png_header
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.functional import to_tensor

from spatial_viz.data import images
from spatial_viz.data.images import fit, load_image, picture_to_tensor, tensor_to_picture
from spatial_viz.data.samples import find_sample, samples
from spatial_viz.errors import InvalidInput, PictureError, SpatialVizWarning

# ---------------------------------------------------------------------------------------------- files and uploads


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG"])
def test_formats_are_read_from_paths_and_bytes(kind, tmp_path):
    data = encode(noise(9, 5), kind, **({"lossless": True} if kind == "WEBP" else {}))
    path = tmp_path / "picture.unknown"  # the content decides, not the name
    path.write_bytes(data)
    for source in (path, str(path), data):
        read = load_image(source)
        assert read.size == (9, 5)
        if kind not in ("GIF", "JPEG"):
            assert np.array_equal(read.convert("RGB"), noise(9, 5))
    path.unlink()
    read.getpixel((8, 4))  # decoded already


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_thin_and_tiny_pictures_are_accepted(size):
    assert load_image(encode(noise(*size))).size == size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied_once(kind):
    picture = Image.new("RGB", (16, 8), "black")
    picture.paste("white", (0, 0, 8, 8))  # white on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise: white on top
    upright = load_image(encode(picture, kind, exif=exif))
    assert upright.size == (8, 16)
    column = np.asarray(upright.convert("L"))[:, 4]
    assert column[2] > 200 and column[-3] < 50


def test_broken_exif_does_not_lose_the_picture():
    data = encode(noise(8, 8), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    assert load_image(data).size == (8, 8)


def test_the_first_frame_of_an_animation_is_read():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime")]
    for kind in ("GIF", "PNG", "WEBP", "TIFF"):
        read = load_image(encode(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert read.convert("RGB").getpixel((0, 0))[0] > 240, kind


JPEG = encode(noise(64, 64), "JPEG")
PNG = encode(noise(64, 64))
BOMB_TEXT = png_chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(80_000_000), 1))
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0\nsize 12345\n"
SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "x is empty (0 bytes); expected a picture file (PNG, JPEG", id="empty"),
        pytest.param(b"hello world", "x is not a picture that can be read", id="text"),
        pytest.param(SVG, "x is an SVG drawing, and vector pictures are not read; export it as PNG", id="svg"),
        pytest.param(b"\xef\xbb\xbf \n<SVG/>", "x is an SVG drawing", id="svg with a byte order mark"),
        pytest.param(b"<html><svg/></html>", "x is not a picture", id="web page"),
        pytest.param(b"%PDF-1.7", "x is a PDF document", id="pdf"),
        pytest.param(b"\0\0\0\x18ftypheic" + bytes(20), "x is a HEIC, AVIF or video file", id="heic"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "x is not a picture", id="eps"),
        pytest.param(encode(noise(4, 4), "TGA"), "x is not a picture that can be read", id="format not on the list"),
        pytest.param(JPEG[: len(JPEG) // 2], "x is damaged or cut short", id="half a JPEG"),
        pytest.param(PNG[: len(PNG) // 2], "x is damaged or cut short", id="half a PNG"),
        pytest.param(JPEG[:10], "x cannot be read (Truncated File Read); save it again", id="JPEG head"),
        pytest.param(PNG[:20], "x", id="PNG head"),
        pytest.param(PNG[:100] + b"!" * 500 + PNG[600:], "x is damaged or cut short", id="scribbled PNG"),
        pytest.param(encode(noise(64, 64), "WEBP")[:99], "x", id="WEBP head"),
        pytest.param(png_header(0, 5), "x", id="no width"),
        pytest.param(png_header(10_000, 5_001), "x has 10,000×5,001 pixels; at most 50 million", id="50.01 megapixels"),
        pytest.param(png_header(12_000, 12_000), "x has far too many pixels; at most 50 m", id="Pillow would warn"),
        pytest.param(png_header(50_000, 50_000), "x has far too many pixels", id="Pillow would stop"),
        pytest.param(png_header(2**31 - 1, 2**31 - 1), "x has far too many pixels", id="largest header"),
        pytest.param(png_header(4, 4, BOMB_TEXT), "x is damaged or cut short", id="text bomb without a picture"),
        pytest.param(LFS_POINTER, "x is a Git LFS pointer in the place of the picture; run: git lfs pull", id="lfs"),
        pytest.param(b"II*\0\x08\0\0\0" + b"\xff" * 40, "x", id="TIFF of nonsense"),
    ],
)
def test_bad_files_are_explained(data, message, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing of Pillow's leaks
        for source in (data, path):
            with pytest.raises(PictureError) as error:
                load_image(source, name="x")
            text = str(error.value)
            assert text.startswith(message)
            assert "\n" not in text and len(text) < 300


@pytest.mark.parametrize("kind", images.FORMATS)
def test_damaged_bytes_raise_nothing_but_picture_errors(kind):
    random = np.random.default_rng(1)
    whole = np.frombuffer(encode(noise(24, 24), kind), dtype=np.uint8)
    for _ in range(40):
        data = whole[: random.integers(1, len(whole) + 1)].copy()
        data[random.integers(0, len(data), 4)] = random.integers(0, 256, 4)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.suppress(PictureError):
                picture_to_tensor(load_image(data.tobytes()))


WORKFLOW = b"workflow\0" + b"[1, " * 600_000
LONG_TEXTS = {
    "compressed": png_chunk(b"zTXt", b"workflow\0\0" + zlib.compress(WORKFLOW)),
    "international": png_chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(WORKFLOW)),
    "plain": png_chunk(b"tEXt", WORKFLOW) * 30,
    "bomb": BOMB_TEXT,
}


@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS)
@pytest.mark.parametrize("place", [33, -12], ids=["before the pixels", "after them"])
def test_texts_of_megabytes_cost_no_picture(text, place, tmp_path):
    """Image generators write how a picture was made into it."""
    path = tmp_path / "generated.png"
    path.write_bytes(PNG[:place] + text + PNG[place:])
    assert np.array_equal(load_image(path), noise(64, 64))
    assert images.upright_size(path) == (64, 64)


def test_names_in_other_encodings_are_printed(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    with pytest.raises(PictureError, match=r"café\.png does not exist"):
        load_image(path)
    path.write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"café\.png is not a picture"):
        load_image(path)


def test_a_damaged_file_that_is_named_svg_is_called_svg():
    with pytest.raises(PictureError, match=r"logo\.SVGZ is an SVG drawing"):
        load_image(b"\x1f\x8b", name="logo.SVGZ")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothing.png", "nothing.png does not exist; expected a picture file (PNG"),
        ("file/below.png", "does not exist"),
        (".", "is a folder; expected one picture file"),
        ("a\0b.png", "cannot be opened (embedded null byte)"),
        ("long" * 2000, "cannot be opened (File name too long)"),
    ],
)
def test_paths_that_are_no_files_are_explained(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(PictureError) as error:
        load_image(source)
    assert message in str(error.value)


def test_a_pipe_is_not_opened(tmp_path):
    os = pytest.importorskip("os")
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes with names")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PictureError, match="not a plain file"):
        load_image(tmp_path / "pipe")


def test_messages_call_an_upload_by_its_name():
    with pytest.raises(PictureError, match=r"^the uploaded file is not a picture"):
        load_image(b"x")
    with pytest.raises(PictureError, match=r"^holiday\.jpg is not a picture"):
        load_image(b"x", name="holiday.jpg")


# ---------------------------------------------------------------------------------------------- pictures and tensors


def of(mode: str, value: object, **info: object) -> Image.Image:
    picture = Image.new(mode, (2, 1), value)
    picture.info.update(info)
    return picture


def palette(value: int, **info: object) -> Image.Image:
    picture = of("P", value, **info)
    picture.putpalette([255, 0, 0, 0, 0, 255])  # 0 is red, 1 is blue
    return picture


def deep(values: list[float], dtype: type) -> Image.Image:
    return Image.fromarray(np.array([values], dtype=dtype))


RED = [1.0, 0.0, 0.0]
WHITE = [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("picture", "colour"),
    [
        (of("RGB", (255, 0, 51)), [1, 0, 0.2]),
        (of("RGBA", (255, 0, 0, 255)), RED),
        (of("RGBA", (255, 0, 0, 0)), WHITE),
        (of("RGBA", (255, 0, 0, 51)), [1, 0.8, 0.8]),
        (of("RGB", (9, 8, 7), transparency=(9, 8, 7)), WHITE),
        (of("L", 51), [0.2] * 3),
        (of("L", 51, transparency=51), WHITE),
        (of("LA", (0, 51)), [0.8] * 3),
        (of("1", 1), WHITE),
        (of("1", 0), [0, 0, 0]),
        (palette(0), RED),
        (palette(1), [0, 0, 1]),
        (palette(0, transparency=0), WHITE),
        (palette(0, transparency=b"\x33\xff"), [1, 0.8, 0.8]),
        (of("CMYK", (0, 255, 255, 0)), RED),
        (of("YCbCr", (51, 128, 128)), [0.2] * 3),
        (of("I;16", 13107), [0.2] * 3),
        (of("I;16", 13107, transparency=13107), WHITE),
        (of("I", 13107), [0.2] * 3),
        (of("F", 0.2), [0.2] * 3),
        (of("F", 51.0), [0.2] * 3),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_every_mode_becomes_three_channels_or_its_luminance(picture, colour):
    three = picture_to_tensor(picture)
    assert three.shape == (3, 1, 2) and three.dtype == torch.float32 and three.is_contiguous()
    assert three[:, 0, 0].tolist() == pytest.approx(colour, abs=1e-6)
    one = picture_to_tensor(picture, 1)
    assert one.shape == (1, 1, 2)
    assert one[0, 0, 1].item() == pytest.approx(np.dot(colour, [0.299, 0.587, 0.114]), abs=0.51 / 255)


def test_sixteen_bits_are_scaled_and_not_clipped():
    values = [0, 256, 32768, 65535]
    read = load_image(encode(deep(values, np.uint16)))
    assert picture_to_tensor(read, 1)[0, 0].tolist() == pytest.approx([value / 65535 for value in values])


def tiff(bits: int, data: bytes, width: int, *more: tuple[int, int, int, int]) -> bytes:
    """One row of grey; ``more`` tags."""
    tags = sorted([(256, 3, 1, width), (257, 3, 1, 1), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, 1),
                   (277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 1, len(data)), *more])  # fmt: skip
    tags = sorted([*tags, (273, 4, 1, 8 + 2 + 12 * (len(tags) + 1) + 4)])
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + data


PACKED = int("".join(f"{value:012b}" for value in DETECTOR[0]), 2).to_bytes(6, "big")
SBIT = png_chunk(b"sBIT", b"\x0c")
IN_16 = DETECTOR.astype("<u2").tobytes()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(png16(DETECTOR, SBIT), DETECTOR / 4095, id="sBIT, in the lower bits"),
        pytest.param(png16(DETECTOR << 4, SBIT), DETECTOR * 16 / 65535, id="sBIT, in the upper bits"),
        pytest.param(png16(DETECTOR * 14, SBIT), DETECTOR * 14 / 65535, id="sBIT, and values of 16 bits"),
        pytest.param(tiff(12, PACKED, 4), DETECTOR / 4095, id="TIFF of 12 bits"),
        pytest.param(tiff(16, IN_16, 4, (281, 3, 1, 4095)), DETECTOR / 4095, id="TIFF, MaxSampleValue"),
        pytest.param(tiff(16, IN_16, 4, (281, 3, 1, 65535)), None, id="TIFF of 16 bits"),
        pytest.param(tiff(16, IN_16, 4, (281, 3, 1, 2047)), None, id="TIFF, a MaxSampleValue that is exceeded"),
        pytest.param(png16(DETECTOR), None, id="nothing said"),
        pytest.param(png16(DETECTOR * 0), DETECTOR * 0, id="black"),
        pytest.param(png16(DETECTOR + 1), (DETECTOR + 1) / 65535, id="brighter than 12 bits"),
        pytest.param(png16(np.stack([DETECTOR] * 3, 2)), None, id="in colour"),
        pytest.param(png16(np.stack([DETECTOR * 2] * 3, 2)), DETECTOR * 2 // 256 / 255, id="in colour, brighter"),
    ],
)
def test_data_of_detectors_are_scaled_by_their_bits_or_told_of(data, expected):
    told: list[str] = []
    read = load_image(data, "x", told.append)
    if expected is None:
        (sentence,) = told
        assert sentence.startswith(
            "x has no value above 4,095 of 65,535, so it is nearly black; if these are the values"
        )
        assert picture_to_tensor(read, 1).max() < 0.07
        return
    assert not told
    values = picture_to_tensor(read, 1)[0, 0]
    np.testing.assert_allclose(values, expected[0], atol=1e-6)
    np.testing.assert_allclose(picture_to_tensor(fit(read, None, (1, 4)), 1)[0, 0], expected[0], atol=1e-6)


def test_without_anybody_to_tell_it_is_a_warning(tmp_path):
    (tmp_path / "xray.png").write_bytes(png16(DETECTOR))
    with pytest.warns(SpatialVizWarning, match=r"xray\.png has no value above 4,095 of 65,535"):
        load_image(tmp_path / "xray.png")


def test_real_pictures_are_as_torchvision_reads_them():
    for name in ("cifar10/3", "imagenet/1"):
        picture = load_image(find_sample(name).path)
        assert torch.equal(picture_to_tensor(picture), to_tensor(picture))


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (deep([0.0, np.nan], np.float32), "finite values in [0, 1] or in [0, 255]; got nan"),
        (deep([0.0, np.inf], np.float32), "got 0 to inf"),
        (deep([-0.5, 1.0], np.float32), "got -0.5 to 1"),
        (deep([0.0, 256.0], np.float32), "got 0 to 256; rescale it"),
        (deep([0, 65536], np.int32), "values in 0 to 65535; got 0 to 65536"),
        (deep([-1, 5], np.int32), "got -1 to 5"),
        (of("RGB", 0, transparency="none"), "a picture in mode RGB cannot become RGB"),
        (Image.new("RGB", (0, 3)), "has 0×3 pixels; expected at least 1×1"),
    ],
)
def test_values_without_a_meaning_are_refused(picture, message):
    for call in (picture_to_tensor, lambda picture: fit(picture, None, (4, 4))):
        with pytest.raises(PictureError) as error:
            call(picture)
        assert message in str(error.value)


def test_channels_are_one_or_three():
    with pytest.raises(InvalidInput, match=r"channels must be 1 \(grey\) or 3 \(RGB\); got 4"):
        picture_to_tensor(noise(2, 2), 4)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_survives_the_way_to_a_tensor_and_back(mode):
    picture = noise(17, 9, mode)
    back = tensor_to_picture(picture_to_tensor(picture, len(picture.getbands())))
    assert back.mode == mode and np.array_equal(back, picture)


def test_tensors_are_rounded_and_tiny_overshoots_clamped():
    picture = tensor_to_picture(torch.tensor([[[-1e-6, 0.4 / 255, 0.6 / 255, 1 + 1e-6]]], requires_grad=True))
    assert picture.mode == "L" and np.asarray(picture).tolist() == [[0, 0, 1, 255]]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(2, 4, 4), "1×H×W or 3×H×W tensor; got torch.float32 of shape (2, 4, 4)"),
        (torch.zeros(1, 3, 4, 4), "of shape (1, 3, 4, 4)"),
        (torch.zeros(3, 0, 4), "of shape (3, 0, 4)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), "got torch.uint8"),
        (torch.full((3, 4, 4), 255.0), "values in [0, 1]; got 255 to 255"),
        (torch.full((3, 4, 4), torch.nan), "got nan to nan"),
    ],
)
def test_other_tensors_are_no_pictures(image, message):
    with pytest.raises(InvalidInput) as error:
        tensor_to_picture(image)
    assert message in str(error.value)


# ---------------------------------------------------------------------------------------------- fit


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(512, 512), (333, 257), (257, 333), (40, 31), (224, 224), (1, 9), (901, 100)])
@pytest.mark.parametrize(
    ("resize", "crop"), [(256, (224, 224)), (32, (32, 32)), (57, (56, 33)), ((70, 60), (64, 50)), (1, (1, 1))]
)
def test_fit_is_torchvisions_resize_and_centre_crop(size, mode, resize, crop):
    photo = load_image(find_sample("imagenet/0").path).resize(size).convert(mode)
    expected = v2.CenterCrop(crop)(v2.Resize(resize)(photo))
    assert np.array_equal(fit(photo, resize, crop), expected)


def test_fit_on_real_photos_is_torchvisions():
    for sample in samples("imagenet")[:3]:
        photo = load_image(sample.path)
        assert np.array_equal(fit(photo, 256, (224, 224)), v2.CenterCrop(224)(v2.Resize(256)(photo)))


@pytest.mark.parametrize("size", [(32, 32), (45, 32), (32, 45), (7, 100), (100, 7), (333, 257)])
@pytest.mark.parametrize("crop", [(32, 32), (28, 28), (24, 50), (50, 24)])
def test_fit_without_resize_covers_the_crop(size, crop):
    picture = noise(*size)
    fitted = fit(picture, None, crop)
    assert fitted.size == crop[::-1]
    if size == fitted.size:
        assert fitted is picture
    elif crop[0] == crop[1]:
        assert np.array_equal(fitted, v2.CenterCrop(crop)(v2.Resize(crop[0])(picture)))
    assert np.asarray(fit(Image.new("L", size, 255), None, crop)).min() == 255  # no black border anywhere


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (3, 40_000), (200_000, 100), (1, 2_000_000), (40, 50)])
@pytest.mark.parametrize(("resize", "crop"), [(256, (224, 224)), (None, (224, 224)), (230, (100, 230))])
def test_extreme_aspects_need_little_memory(size, resize, crop, monkeypatch):
    largest = []
    plain = Image.Image.resize

    def watched(picture, size, *rest, **options):
        largest.append(size[0] * size[1])
        return plain(picture, size, *rest, **options)

    picture = Image.new("RGB", size)
    monkeypatch.setattr(Image.Image, "resize", watched)
    assert fit(picture, resize, crop).size == crop[::-1]
    assert max(largest) <= images._LARGEST_RESIZE


@pytest.mark.parametrize("size", [(3, 700), (700, 3), (901, 100), (2000, 30), (31, 47), (64, 64)])
@pytest.mark.parametrize(("resize", "crop"), [(64, (56, 56)), (64, (17, 50)), ((70, 300), (64, 11)), (None, (29, 44))])
def test_the_short_way_for_extreme_aspects_gives_the_same_picture(size, resize, crop, monkeypatch):
    picture = noise(*size)
    plain = np.asarray(fit(picture, resize, crop)).astype(int)
    monkeypatch.setattr(images, "_LARGEST_RESIZE", 0)
    assert np.abs(np.asarray(fit(picture, resize, crop)).astype(int) - plain).max() <= 1


@pytest.mark.parametrize(
    ("picture", "mode"),
    [
        (palette(0), "RGB"),
        (palette(0, transparency=0), "RGB"),
        (of("1", 1), "L"),
        (of("RGBA", (0, 0, 0, 0)), "RGB"),
        (of("CMYK", (0, 0, 0, 0)), "RGB"),
        (of("I;16", 65535), "F"),
        (of("F", 255.0), "F"),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
def test_fit_keeps_the_meaning_of_other_modes(picture, mode):
    fitted = fit(picture, 8, (8, 8))
    assert fitted.mode == mode and fitted.size == (8, 8)
    assert torch.allclose(picture_to_tensor(fitted), picture_to_tensor(picture)[:, :1, :1].expand(3, 8, 8))


def test_transparent_edges_are_blended_with_white_before_resizing():
    picture = Image.new("RGBA", (4, 4), (0, 0, 0, 0))  # black, but nowhere visible
    assert np.asarray(fit(picture, 2, (2, 2))).min() == 255


@pytest.mark.parametrize(
    ("resize", "crop", "message"),
    [
        (200, (224, 224), "resize must cover the crop of 224×224 pixels; got 200"),
        ((256, 200), (224, 224), "got (256, 200)"),
        (0, (1, 1), "sides of at least 1 pixel; got resize 0 and crop (1, 1)"),
        (None, (0, 4), "sides of at least 1 pixel"),
    ],
)
def test_fit_explains_impossible_sizes(resize, crop, message):
    with pytest.raises(InvalidInput) as error:
        fit(noise(8, 8), resize, crop)
    assert message in str(error.value)
