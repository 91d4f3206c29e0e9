"""Bytes to pixels: every decodable image file becomes upright RGB, any other a fault with its reason."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from isckit.types import BadInput

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "JPEG2000", "TIFF", "BMP", "PPM", "ICO")
"""Pillow's names of the formats read, without those that start another program or have no signature."""
MAX_PIXELS = 178_956_970
"""Largest image: the limit of Pillow's defaults, so that all decoders refuse the same images."""
BROKEN_FILL = 128
"""Grey level that stands for an image that cannot be decoded."""

_ORIENTATION = 0x0112
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
    as in all published ISC2021 systems. Transparent pixels are laid on white. 16-bit samples keep their upper byte;
    float samples, and integers beyond 16 bits, are stretched linearly from their least to their greatest value. Of an
    animation the first frame counts. JPEG goes through torchvision, whose pixels equal Pillow's in about two thirds
    of the time. Both share a limit: damage inside a JPEG that libjpeg conceals is not noticed.

    Raises:
        BrokenImage: empty, not an image, truncated, damaged, or larger than MAX_PIXELS.
    """
    if not data:
        raise broken("the file is empty (0 bytes)", name=name)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise broken(f"{image.width} x {image.height} pixels", name=name)
        plain_jpeg = image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB")
        pixels = _fast(data, image) if plain_jpeg else _pillow(image)
        return np.ascontiguousarray(_upright(pixels, _orientation(image)))
    except BrokenImage:
        raise
    except Image.UnidentifiedImageError:
        raise broken(f"no image: {len(data)} bytes that begin with {data[:16]!r}", name=name) from None
    except _DECODER_FAULTS as error:
        raise broken(f"cannot be decoded: {error or type(error).__name__}", name=name) from error


def extensions() -> frozenset[str]:
    """Return the lower-case file name extensions of the formats read, with their dot."""
    # An MPO is a JPEG with further pictures behind it.
    return frozenset(ext for ext, kind in Image.registered_extensions().items() if kind in (*FORMATS, "MPO"))


def placeholder() -> np.ndarray:
    """Return a grey (64, 64, 3) uint8 image, which stands for a broken one."""
    return np.full((64, 64, 3), BROKEN_FILL, np.uint8)


def stop_message(broken_images: Sequence[tuple[str, str]]) -> BadInput:
    """Return the fault that stops a run: every broken image as (id, reason), none left out."""
    listed = "\n".join(f"  {name}: {reason}" for name, reason in broken_images)
    return BadInput(
        seen=f"{len(broken_images)} broken image{'s' * (len(broken_images) != 1)}:\n{listed}",
        allowed="image files that decode",
        remedy="repeat their download, or accept grey in their place with --set extract.on_broken=replace",
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
        return np.repeat(_to_bytes(np.asarray(image))[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _to_bytes(samples: np.ndarray) -> np.ndarray:
    """Convert grey samples wider than a byte to uint8."""
    low, high = float(samples.min()), float(samples.max())
    if samples.dtype.kind != "f" and low >= 0 and high <= 0xFFFF:
        return (samples.astype(np.uint16) >> 8).astype(np.uint8)  # as Pillow does for 16-bit colour
    if not np.isfinite([low, high]).all():
        raise ValueError("float samples that are not finite")
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
