"""The torch dataset of extraction: decoded and prepared images of any role. That of training is in `items`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch.utils.data import Dataset, default_collate

from isckit.data.image_sets import ImageSet
from isckit.data.images import BrokenImage, decode, placeholder
from isckit.types import BadInput, Role


class Preparer(Protocol):
    """A describer, as the loader worker sees it."""

    def prepare(self, image: np.ndarray, views: Any) -> np.ndarray:
        """Return a uint8 array, of the same shape for every image, of (H, W, 3) uint8."""
        ...


Substitute = Callable[[str, np.ndarray], np.ndarray]
"""Takes an image's id and pixels; returns the pixels that take their place."""


@dataclass(frozen=True)
class Order:
    """The preparation of every image for one member.

    Attributes:
        member: prepares the image.
        views: of every image.
        found: the further views of the image of a row, for members that cut views in the worker; None for others.
        blur: Gaussian radius in pixels of the image as it is, before anything else; 0 leaves it alone.
    """

    member: Preparer
    views: Any
    found: Callable[[int], Any] | None = None
    blur: float = 0.0


class Prepared(NamedTuple):
    """Images ready for the members.

    Attributes:
        whole: one tensor a member, (B, ...), or (...) of a single image.
        found: one tensor a member, (N, ...), all views found in these images; None where there are none.
        reasons: of broken images; "" for whole ones.
    """

    whole: list[torch.Tensor]
    found: list[torch.Tensor | None]
    reasons: list[str]


class PreparedImages(Dataset):
    """Images decoded once and prepared for every member. A broken one becomes grey and brings its reason along.

    `substitute` is for queries alone, `blur` for all others: queries are described as they are, or a part of them.
    """

    def __init__(
        self, images: ImageSet, *, rows: np.ndarray, orders: Sequence[Order], substitute: Substitute | None = None
    ) -> None:
        if substitute is not None and images.role is not Role.QUERY:
            raise BadInput(
                seen=f"parts of images in place of the {images.role} images of {images.name}",
                allowed="substitution in queries only",
                remedy="describe these images as they are",
            )
        self.images, self.rows, self.orders, self.substitute = images, rows, orders, substitute
        self.blurs = images.role is not Role.QUERY

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> Prepared:
        row = int(self.rows[position])
        image, reason = opened(self.images, row, self.substitute)
        seen = {0.0: image}
        whole, found = [], []
        for order in self.orders:
            radius = order.blur if self.blurs else 0.0
            if radius not in seen:
                seen[radius] = blurred(image, radius)
            whole.append(torch.from_numpy(order.member.prepare(seen[radius], order.views)))
            more = order.found(row) if order.found is not None and not reason else ()
            found.append(torch.from_numpy(order.member.prepare(seen[radius], more)) if more else None)
        return Prepared(whole, found, [reason])


def opened(images: ImageSet, row: int, substitute: Substitute | None) -> tuple[np.ndarray, str]:
    """Return image `row`, decoded, or its substitute; grey with the reason where it is broken."""
    name = str(images.ids[row])
    try:
        image = decode(images.read(row), name=name)
    except BrokenImage as error:
        return placeholder(), error.seen
    return (image if substitute is None else substitute(name, image)), ""


def blurred(image: np.ndarray, radius: float) -> np.ndarray:
    """Blur (H, W, 3) uint8 by Pillow's Gaussian."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))


def together(items: Sequence[Prepared]) -> Prepared:
    """Return images as a batch."""
    found = []
    for parts in zip(*(item.found for item in items), strict=True):
        there = [part for part in parts if part is not None]
        found.append(torch.cat(there) if there else None)
    return Prepared(
        default_collate([item.whole for item in items]), found, [reason for item in items for reason in item.reasons]
    )
