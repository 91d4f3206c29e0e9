"""Claims about decoding: known pixels for every kind of picture file, and a reason for every broken one."""

import io
import pickle
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from isckit.data.images import BROKEN_FILL, MAX_PIXELS, BrokenImage, decode, placeholder, stop_message
from isckit.types import BadInput

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def by_cv2(extension: str, pixels: np.ndarray) -> bytes:
    return cv2.imencode(extension, pixels)[1].tobytes()


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def photograph(height: int = 61, width: int = 83, seed: int = 0) -> Image.Image:
    """Smooth colour fields with edges and some noise."""
    rng = np.random.default_rng(seed)
    field = cv2.GaussianBlur(rng.normal(size=(height, width, 3)), (0, 0), 6)
    field = cv2.normalize(field, None, 0, 255, cv2.NORM_MINMAX)
    field[height // 3 : height // 2, width // 4 : width // 2] = rng.integers(0, 256, 3)
    return Image.fromarray(np.clip(field + rng.normal(size=field.shape) * 6, 0, 255).astype(np.uint8))


def quadrants() -> Image.Image:
    """32 x 48, differently coloured in each corner."""
    pixels = np.zeros((32, 48, 3), np.uint8)
    pixels[:16, :24], pixels[:16, 24:], pixels[16:, :24], pixels[16:, 24:] = RED, GREEN, BLUE, WHITE
    return Image.fromarray(pixels)


def corners(pixels: np.ndarray) -> list[tuple]:
    """Colours 4 pixels in from the top left, top right, bottom left and bottom right."""
    return [tuple((pixels[y, x] > 127) * 255) for y in (4, -5) for x in (4, -5)]


def oriented(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    return encoded(quadrants(), kind, exif=exif, **options)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("quality", [25, 92])
def test_a_jpeg_has_pillows_pixels_to_the_last_bit(subsampling, progressive, quality):
    for height, width in ((61, 83), (64, 64), (1, 1), (3, 2), (2, 1501), (900, 1)):
        data = encoded(
            photograph(height, width), "JPEG", quality=quality, subsampling=subsampling, progressive=progressive
        )
        np.testing.assert_array_equal(decode(data, name="x"), by_pillow(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, (RED, GREEN, BLUE, WHITE)),
        (2, (GREEN, RED, WHITE, BLUE)),
        (3, (WHITE, BLUE, GREEN, RED)),
        (4, (BLUE, WHITE, RED, GREEN)),
        (5, (RED, BLUE, GREEN, WHITE)),
        (6, (BLUE, RED, WHITE, GREEN)),
        (7, (WHITE, GREEN, BLUE, RED)),
        (8, (GREEN, WHITE, RED, BLUE)),
    ],
)
def test_exif_orientation_is_applied_once(kind, orientation, expected):
    data = oriented(kind, orientation)
    pixels = decode(data, name="x")
    assert corners(pixels) == list(expected)
    assert pixels.shape == ((48, 32, 3) if orientation > 4 else (32, 48, 3))
    np.testing.assert_array_equal(pixels, by_pillow(data))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"nonsense", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"])
def test_damaged_exif_spoils_no_image(exif):
    data = encoded(quadrants(), "JPEG", exif=b"Exif\0\0" + exif, quality=95)
    assert corners(decode(data, name="x")) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("orientation", [0, 9, 255])
def test_an_orientation_that_does_not_exist_is_none(orientation):
    assert corners(decode(oriented("JPEG", orientation), name="x")) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "AVIF", "JPEG2000", "TIFF", "BMP", "PPM"])
def test_every_format_is_told_by_its_content(kind):
    data = encoded(quadrants(), kind)
    assert corners(decode(data, name="photo.jpg")) == [RED, GREEN, BLUE, WHITE]


def test_the_result_is_contiguous_rgb_bytes():
    files = [
        oriented("JPEG", 6),
        oriented("PNG", 3),
        encoded(quadrants().convert("L"), "JPEG"),
        encoded(quadrants().convert("CMYK"), "JPEG"),
        encoded(quadrants().convert("RGBA"), "PNG"),
    ]
    for data in files:
        pixels = decode(data, name="x")
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert pixels.flags.c_contiguous


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_grey_becomes_three_equal_channels(kind):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    pixels = decode(encoded(Image.fromarray(ramp), kind, quality=100), name="x")
    np.testing.assert_allclose(pixels[:, :, 0].astype(int), ramp, atol=1 if kind == "JPEG" else 0)
    assert (pixels == pixels[:, :, :1]).all()


def test_cmyk_keeps_its_colour_and_adobes_inversion_is_undone():
    inks = {(0, 255, 255, 0): RED, (255, 0, 255, 0): GREEN, (0, 0, 0, 0): WHITE, (0, 0, 0, 255): BLACK}
    for ink, colour in inks.items():
        image = Image.new("CMYK", (16, 16), ink)
        jpeg = encoded(image, "JPEG", quality=100)
        assert b"Adobe" in jpeg
        for data in (jpeg, encoded(image, "TIFF")):
            np.testing.assert_allclose(decode(data, name="x")[8, 8].astype(int), colour, atol=2)


def test_palette_colours_are_looked_up():
    image = Image.new("P", (4, 2), 1)
    image.putpalette([*RED, *GREEN, *BLUE])
    image.putpixel((3, 1), 2)
    for kind in ("PNG", "GIF"):
        pixels = decode(encoded(image, kind), name="x")
        assert tuple(pixels[0, 0]) == GREEN
        assert tuple(pixels[1, 3]) == BLUE


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white_whatever_its_colour(kind):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([*RED, *GREEN])
    image.putpixel((0, 0), 1)
    pixels = decode(encoded(image, kind, transparency=1), name="x")
    assert tuple(pixels[0, 0]) == WHITE
    assert tuple(pixels[2, 2]) == RED


def test_alpha_is_laid_on_white():
    rgba = Image.new("RGBA", (3, 1), (255, 0, 0, 255))
    rgba.putpixel((1, 0), (255, 0, 0, 0))
    rgba.putpixel((2, 0), (0, 0, 0, 128))
    pixels = decode(encoded(rgba, "PNG"), name="x")[0].astype(int)
    np.testing.assert_allclose(pixels, [RED, WHITE, (127, 127, 127)], atol=1)
    la = Image.new("LA", (2, 1), (0, 255))
    la.putpixel((1, 0), (0, 0))
    assert decode(encoded(la, "PNG"), name="x")[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_the_mask_of_an_icon_is_laid_on_white():
    icon = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    icon.paste((0, 0, 255, 255), (0, 0, 8, 16))
    pixels = decode(encoded(icon, "ICO", bitmap_format="bmp", sizes=[(16, 16)]), name="x")
    assert [tuple(pixels[8, x]) for x in (2, 13)] == [BLUE, WHITE]


def test_a_transparent_colour_key_is_white():
    image = Image.new("RGB", (2, 1), (7, 8, 9))
    image.putpixel((1, 0), RED)
    assert decode(encoded(image, "PNG", transparency=(7, 8, 9)), name="x")[0].tolist() == [[255] * 3, list(RED)]


def test_one_bit_images_are_black_and_white():
    image = Image.new("1", (2, 1), 0)
    image.putpixel((1, 0), 1)
    assert decode(encoded(image, "PNG"), name="x")[0].tolist() == [[0] * 3, [255] * 3]


@pytest.mark.parametrize("extension", [".png", ".tiff", ".pgm"])
def test_sixteen_bit_grey_is_scaled_not_clipped(extension):
    samples = np.array([[0, 256, 257, 32896, 51400, 65535]], np.uint16)
    assert decode(by_cv2(extension, samples), name="x")[0, :, 1].tolist() == [0, 1, 1, 128, 200, 255]


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour_is_scaled_as_grey_is(channels):
    samples = np.full((1, 4, channels), 65535, np.uint16)
    samples[0, :, :3] = np.array([[0, 257, 51400], [255, 256, 65535], [32896] * 3, [1, 2, 3]], np.uint16)[:, ::-1]
    expected = [[0, 1, 200], [0, 1, 255], [128] * 3, [0] * 3]
    assert decode(by_cv2(".png", samples), name="x")[0].tolist() == expected


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.2, 0.4, 0.6]], np.float32), [51, 102, 153]),  # shares of white keep their contrast
        (np.array([[0.0, 100.0, 254.6]], np.float32), [0, 100, 255]),
        (np.array([[-4.0, 0.0, 4.0]], np.float32), [0, 128, 255]),
        (np.array([[0, 17, 255]], np.int32), [0, 17, 255]),
        (np.array([[0, 256, 65535]], np.int32), [0, 1, 255]),
        (np.array([[-100_000, 0, 100_000]], np.int32), [0, 128, 255]),
        (np.array([[0, 128, 255]], np.uint16), [0, 0, 0]),  # black, to 16 bits
    ],
)
def test_wide_samples_are_shares_of_white_bytes_or_stretched(samples, expected):
    assert decode(encoded(Image.fromarray(samples), "TIFF"), name="x")[0, :, 0].tolist() == expected


def test_a_dark_picture_of_sixteen_bits_stays_dark():
    for extension in (".png", ".pgm", ".tiff"):
        assert decode(by_cv2(extension, np.full((4, 4), 255, np.uint16)), name="x").max() == 0


@pytest.mark.parametrize("colour", [(200, 120, 90), (90, 160, 110), (80, 100, 180), WHITE])
def test_lab_is_shown_in_srgb(colour):
    # sRGB to XYZ adapted to D50 (Lindbloom), then CIE 1976.
    matrix = [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
    share = np.array(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(np.array(matrix) @ linear / (0.96422, 1, 0.82521))
    lab = 116 * y - 16, 500 * (x - y), 200 * (y - z)
    stored = np.array([[[round(lab[0] * 2.55), round(lab[1]) % 256, round(lab[2]) % 256]]], np.uint8)
    image = Image.frombytes("LAB", (8, 8), np.tile(stored, (8, 8, 1)).tobytes())
    np.testing.assert_allclose(decode(encoded(image, "TIFF"), name="x")[4, 4].astype(int), colour, atol=4)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_half_of_black_on_white_is_mid_grey(mode):
    from isckit.data.images import _pillow

    image = Image.new("LA" if mode == "LA" else "RGBA", (4, 4), (0, 128) if mode == "LA" else (0, 0, 0, 128))
    if mode == "PA":
        image = Image.new("PA", (4, 4), (0, 128))
        image.putpalette([0, 0, 0] * 256)
    assert np.abs(_pillow(image).astype(int) - 127).max() <= 1
    premultiplied = {"LA": "La", "RGBA": "RGBa"}.get(mode)
    if premultiplied:
        assert np.abs(_pillow(image.convert(premultiplied)).astype(int) - 127).max() <= 1


@pytest.mark.parametrize(
    ("samples", "white", "expected"),
    [
        (np.array([[0, 1 << 31, (1 << 32) - 1]], np.uint32), 1, [0, 128, 255]),
        (np.array([[0, 17, 255]], np.uint32), 1, [0, 17, 255]),
        (np.array([[0, 256, 65535]], np.uint16), 1, [0, 1, 255]),
        (np.array([[0, 256, 65535]], np.uint16), 0, [255, 254, 0]),
    ],
)
def test_unsigned_samples_of_tiff_are_read_as_such_and_white_may_be_zero(samples, white, expected):
    data = encoded(Image.fromarray(samples.view(np.int32) if samples.dtype == np.uint32 else samples), "TIFF")
    data = patched(data, {262: white, 339: 1})
    found = Image.open(io.BytesIO(data)).tag_v2
    assert (found[262], found.get(339, (1,))[0]) == (white, 1)
    assert decode(data, name="x")[0, :, 0].tolist() == expected


def patched(data, values):
    """Return a little-endian TIFF with other values of short tags in its first directory."""
    data = bytearray(data)
    place = int.from_bytes(data[4:8], "little")
    for entry in range(int.from_bytes(data[place : place + 2], "little")):
        at = place + 2 + 12 * entry
        if (tag := int.from_bytes(data[at : at + 2], "little")) in values:
            data[at + 8 : at + 10] = values[tag].to_bytes(2, "little")
    return bytes(data)


@pytest.mark.parametrize("endian", ["<", ">"])
def test_sixteen_bit_tiff_of_either_byte_order(endian):
    samples = np.array([[0, 256, 51400, 65535]], f"{endian}u2")
    mode = "I;16" if endian == "<" else "I;16B"
    image = Image.frombytes(mode, (4, 1), samples.tobytes())
    assert decode(encoded(image, "TIFF"), name="x")[0, :, 1].tolist() == [0, 1, 200, 255]


def test_a_ycbcr_tiff_has_the_colours_of_its_jpeg_like_samples():
    image = Image.new("RGB", (8, 8), (200, 40, 90)).convert("YCbCr")
    np.testing.assert_allclose(decode(encoded(image, "TIFF"), name="x")[4, 4].astype(int), (200, 40, 90), atol=2)


def test_float_samples_that_are_not_finite_are_broken():
    with pytest.raises(BrokenImage, match="not finite"):
        decode(encoded(Image.fromarray(np.array([[0, np.nan]], np.float32)), "TIFF"), name="x")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert tuple(decode(data, name="x")[8, 8]) == RED


def test_of_a_multi_picture_jpeg_the_first_counts():
    other = Image.new("RGB", (16, 16), BLUE)
    data = encoded(Image.new("RGB", (16, 16), RED), "MPO", save_all=True, append_images=[other], quality=95)
    np.testing.assert_array_equal(decode(data, name="x"), by_pillow(data))
    np.testing.assert_allclose(decode(data, name="x")[8, 8].astype(int), RED, atol=2)


def test_an_icc_profile_changes_no_pixel():
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for kind in ("JPEG", "PNG"):
        with_profile = encoded(photograph(), kind, icc_profile=profile)
        np.testing.assert_array_equal(decode(with_profile, name="x"), decode(encoded(photograph(), kind), name="x"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "AVIF"])
def test_a_file_cut_in_the_middle_is_broken(kind):
    data = encoded(photograph(), kind)
    with pytest.raises(BrokenImage) as caught:
        decode(data[: len(data) // 2], name="Q00007")
    assert caught.value.seen
    assert "Q00007" in str(caught.value)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lost", [1, 2])
def test_a_jpeg_that_lacks_its_end_marker_alone_is_repaired(lost, progressive, caplog):
    data = encoded(photograph(), "JPEG", quality=90, progressive=progressive)
    np.testing.assert_array_equal(decode(data[:-lost], name="Q1"), decode(data, name="Q1"))
    assert "Q1 is repaired" in caplog.text


@pytest.mark.parametrize("lost", [8, 30, 100])
def test_a_jpeg_without_its_last_pixels_is_called_truncated(lost):
    with pytest.raises(BrokenImage, match="truncated"):
        decode(encoded(photograph(), "JPEG", quality=90)[:-lost], name="x")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_png_with_long_text_is_read(compressed, caplog):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", "a" * 3_000_000, zip=compressed)
    data = encoded(photograph(), "PNG", pnginfo=info)
    np.testing.assert_array_equal(decode(data, name="x"), np.asarray(photograph()))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "DOCTYPE html"),
        (b"\0" * 5000, "no image"),
        (b"\xff\xd8", "no image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "no image"),
    ],
)
def test_what_is_no_image_is_broken_with_the_reason(data, reason):
    with pytest.raises(BrokenImage, match=reason):
        decode(data, name="x")


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (header, data)
    )


@pytest.mark.parametrize("size", [(100_000, 100_000), (MAX_PIXELS + 1, 1), (20_000, 9_000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [Image.MAX_IMAGE_PIXELS, None])
def test_a_decompression_bomb_is_refused_by_its_header_though_pillow_be_set_to_take_it(monkeypatch, size, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(BrokenImage) as caught:
        decode(png_header(*size), name="x")
    assert "pixels" in caught.value.seen


def test_a_jpeg_that_claims_too_many_pixels_is_refused_before_decoding():
    data = bytearray(encoded(photograph(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    with pytest.raises(BrokenImage) as caught:
        decode(bytes(data), name="x")
    assert "pixels" in caught.value.seen


def test_pillows_settings_stay_as_they_were():
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    decode(encoded(quadrants(), "JPEG"), name="x")
    with pytest.raises(BrokenImage):
        decode(encoded(quadrants(), "JPEG")[:-5], name="x")
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_decode_or_are_broken_and_nothing_else():
    rng = np.random.default_rng(7)
    kinds = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "ICO", "JPEG2000")
    files = [encoded(photograph(20, 30), kind) for kind in kinds]
    fates = set()
    for _ in range(1500):
        data = bytearray(files[rng.integers(len(files))])
        for _ in range(rng.integers(1, 5)):
            data[rng.integers(min(300, len(data)))] = rng.integers(256)
        try:
            fates.add(decode(bytes(data), name="x").dtype == np.uint8)
        except BrokenImage as error:
            fates.add(error.seen != "")
    assert fates == {True}


def test_the_placeholder_is_mid_grey():
    assert placeholder().dtype == np.uint8
    assert placeholder().shape[2] == 3
    assert (placeholder() == BROKEN_FILL).all()
    assert BROKEN_FILL == 128


def test_the_stop_message_names_every_image_and_its_reason():
    broken = {f"R{i:06d}": f"reason {i}" for i in range(40)}
    fault = stop_message(broken)
    assert type(fault) is BadInput
    assert "40 broken images" in str(fault)
    assert all(f"{name}: {reason}" in str(fault) for name, reason in broken.items())
    assert "1 broken image:" in str(stop_message({"R000000": "reason"}))


def test_a_broken_image_comes_back_from_a_worker_as_it_was():
    with pytest.raises(BrokenImage) as caught:
        decode(b"nothing", name="T000001")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert type(copy) is BrokenImage
    assert str(copy) == str(caught.value)
