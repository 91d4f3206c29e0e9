"""Bytes to pixels: every decodable image file becomes upright RGB, any other a fault with its reason."""

from __future__ import annotations

import functools
import io
import logging
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from isckit.types import BadInput

log = logging.getLogger(__name__)

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "JPEG2000", "TIFF", "BMP", "PPM", "ICO")
"""Pillow's names of the formats read, without those that start another program or have no signature."""
MAX_PIXELS = 178_956_970
"""Largest image: the limit of Pillow's defaults, so that all decoders refuse the same images."""
BROKEN_FILL = 128
"""Grey level that stands for an image that cannot be decoded."""

_ORIENTATION, _BITS, _PHOTOMETRIC, _FORMAT = 0x0112, 0x0102, 0x0106, 0x0153
_END = b"\xff\xd9"
_DECODER_FAULTS = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""Errors that Pillow's parsers raise on damaged files: they document no common one."""


class BrokenImage(BadInput):
    """An image that cannot be decoded: `seen` is the reason, `remedy` names the image."""


def broken(reason: str, *, name: str) -> BrokenImage:
    """Return the fault of one image."""
    return BrokenImage(
        seen=reason,
        allowed=f"a whole image file of at most {MAX_PIXELS:,} pixels, in one of: {', '.join(FORMATS)}",
        remedy=f"repeat the download of image {name}, or list all broken images with `isckit doctor`",
    )


def decode(data: bytes, *, name: str) -> np.ndarray:
    """Decode an image file to (H, W, 3) uint8 RGB, C-contiguous, upright.

    The content decides the format, never the file name. The EXIF orientation is applied; an ICC profile is ignored,
    as in all published ISC2021 systems. Transparent pixels are laid on white. 16-bit samples keep their upper byte.
    Floats are shares of white where all lie in 0..1; floats, and integers of 32 bits, are bytes where all lie in
    0..255; others are stretched linearly from their least to their greatest value. Lab is that of D50, shown in sRGB.
    Of an animation the first frame counts. A JPEG that lacks its end marker alone, and a PNG with long texts, are read
    as if nothing was wrong, with a warning. JPEG goes through torchvision, whose pixels equal Pillow's in about two
    thirds of the time. Both share a limit: damage inside a JPEG that libjpeg conceals is not noticed.

    Raises:
        BrokenImage: empty, not an image, truncated, damaged, or larger than MAX_PIXELS.
    """
    if not data:
        raise broken("the file is empty (0 bytes)", name=name)
    try:
        try:
            return _decoded(data, name=name)
        except (OSError, ValueError) as error:
            whole = _without_text(data) if "text" in str(error).lower() else _with_end_marker(data)
            if whole is None:
                raise
            pixels = _decoded(whole, name=name)
            log.warning("image %s is repaired, as every viewer does: %s", name, error)
            return pixels
    except BrokenImage:
        raise
    except Image.UnidentifiedImageError:
        raise broken(f"no image: {len(data)} bytes that begin with {data[:16]!r}", name=name) from None
    except _DECODER_FAULTS as error:
        raise broken(f"cannot be decoded: {error or type(error).__name__}", name=name) from error


def _decoded(data: bytes, *, name: str) -> np.ndarray:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise broken(f"{image.width} x {image.height} pixels", name=name)
    plain_jpeg = image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB")
    pixels = _fast(data, image) if plain_jpeg else _pillow(image)
    return np.ascontiguousarray(_upright(pixels, _orientation(image)))


def _with_end_marker(data: bytes) -> bytes | None:
    """Return a JPEG that lacks nothing but its end marker with it; None for any other file.

    Where pixels are missing too, a decoder makes them of whatever comes before the marker.
    """
    if data[:2] != b"\xff\xd8" or data.endswith(_END):
        return None
    base = data.removesuffix(_END[:1])
    ends = [base + filling + _END for filling in (b"", b"\x55" * 64, b"\xaa" * 64)]
    try:
        first, *others = [np.asarray(Image.open(io.BytesIO(whole), formats=("JPEG",))) for whole in ends]
    except _DECODER_FAULTS:
        return None
    return ends[0] if all(np.array_equal(first, other) for other in others) else None


def _without_text(data: bytes) -> bytes | None:
    """Return a PNG without its texts, of which Pillow refuses long ones; None for any other file."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    kept, at = [data[:8]], 8
    while at + 8 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] not in (b"tEXt", b"zTXt", b"iTXt"):
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def is_image(path: str | Path) -> bool:
    """Return True if the head of a file is that of a format read."""
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except _DECODER_FAULTS:
        return False


def extensions() -> frozenset[str]:
    """Return the lower-case file name extensions of the formats read, with their dot."""
    # An MPO is a JPEG with further pictures behind it.
    return frozenset(ext for ext, kind in Image.registered_extensions().items() if kind in (*FORMATS, "MPO"))


def placeholder() -> np.ndarray:
    """Return a grey (64, 64, 3) uint8 image, which stands for a broken one."""
    return np.full((64, 64, 3), BROKEN_FILL, np.uint8)


def listed(broken_images: Mapping[str, str]) -> str:
    """Return every broken image with its reason, none left out, by id: the count, then a line each."""
    lines = [f"  {name}: {reason}" for name, reason in sorted(broken_images.items())]
    return "\n".join([f"{len(lines)} broken image{'s' * (len(lines) != 1)}:", *lines])


_TOLERANT = "train a run with: isckit train --set extract.on_broken=replace, which leaves them out and lists them"


def stop_message(broken_images: Mapping[str, str], *, otherwise: str = _TOLERANT) -> BadInput:
    """Return the fault that stops a run, which lists the broken images and their reasons; `otherwise`: another way."""
    return BadInput(
        seen=listed(broken_images), allowed="image files that decode", remedy=f"repeat their download; or {otherwise}"
    )


def _fast(data: bytes, image: Image.Image) -> np.ndarray:
    """Decode by libjpeg-turbo in torchvision; where that gives up, Pillow decides and finds the reason."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    try:
        tensor = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)
    except RuntimeError:
        return _pillow(image)
    return tensor.numpy().transpose(1, 2, 0)


def _pillow(image: Image.Image) -> np.ndarray:
    """Convert any other kind of image to (H, W, 3) uint8."""
    if image.mode.startswith("I") or image.mode == "F":
        samples = np.asarray(image)
        if image.format != "TIFF":
            return _grey(_to_bytes(samples, may_be_bytes=False))
        tags = image.tag_v2  # type: ignore[attr-defined]
        wide = tags.get(_BITS, (0,))[0] == 32
        if wide and tags.get(_FORMAT, (1,))[0] == 1:
            samples = samples.view(np.uint32)  # which Pillow reads as signed
        bytes_ = _to_bytes(samples, may_be_bytes=wide)
        return _grey(255 - bytes_ if tags.get(_PHOTOMETRIC) == 0 else bytes_)  # 0: white is zero
    if image.mode == "LAB":
        return np.asarray(ImageCms.applyTransform(image, _lab_to_rgb()))
    if image.mode in ("La", "RGBa"):  # colours are multiplied by their opacity
        image = image.convert(image.mode.upper())
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


@functools.cache
def _lab_to_rgb() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")


def _grey(samples: np.ndarray) -> np.ndarray:
    return np.repeat(samples[:, :, None], 3, axis=2)


def _to_bytes(samples: np.ndarray, *, may_be_bytes: bool) -> np.ndarray:
    """Convert grey samples wider than a byte to uint8.

    Args:
        may_be_bytes: integers up to 255 are taken as they are, as programs write bytes into samples of 32 bits.
    """
    low, high = float(samples.min()), float(samples.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("float samples that are not finite")
    if samples.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.rint(samples * 255.0).astype(np.uint8)
    if (samples.dtype.kind == "f" or may_be_bytes) and low >= 0 and high <= 0xFF:
        return np.rint(samples).astype(np.uint8)
    if samples.dtype.kind != "f" and low >= 0 and high <= 0xFFFF:
        return (samples.astype(np.uint16) >> 8).astype(np.uint8)  # as Pillow does for 16-bit colour
    return np.rint((samples.astype(np.float64) - low) / ((high - low) or 1) * 255).astype(np.uint8)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where the EXIF is damaged, which breaks no image."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except _DECODER_FAULTS:
        return 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror by the EXIF orientation (CIPA DC-008, tag 274)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
