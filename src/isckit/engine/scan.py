"""Decode every image of a set once before a long training, so that a broken one is found now and not in hour ten."""

from __future__ import annotations

import logging

import numpy as np

from isckit.data.doctor import broken_images
from isckit.data.image_sets import ImageSet
from isckit.data.images import stop_message

log = logging.getLogger(__name__)


def sound(images: ImageSet, *, on_broken: str, workers: int) -> ImageSet:
    """The images that decode.

    Raises:
        BadInput: some do not, and the policy is "stop"; the message has the full list.
    """
    broken = broken_images(images, workers=max(1, workers))
    if broken and on_broken == "stop":
        raise stop_message(broken)
    if broken:
        names = [image for image, _ in broken]
        log.warning("left out of training, as they do not decode: %s", ", ".join(names))
        return images.subset(np.flatnonzero(~np.isin(images.ids, names)))
    return images
