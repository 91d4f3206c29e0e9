"""The one resize of the kit, for training and for inference alike."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.transforms.v2.functional import InterpolationMode, resize


def square(image: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 3) uint8 -> (size, size, 3) uint8: anti-aliased bicubic, aspect ratio ignored, no crop.

    Equals Pillow's bicubic reduction to a grey level, at several times its speed.
    """
    if image.shape[:2] == (size, size):
        return np.ascontiguousarray(image)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
    out = resize(pixels, [size, size], interpolation=InterpolationMode.BICUBIC, antialias=True)
    return np.ascontiguousarray(out.permute(1, 2, 0).numpy())
