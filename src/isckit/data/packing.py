"""Packing of an image set into packs of at most so many images, opened in its place. Their format: `packs`."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from isckit.data import containers
from isckit.data.image_sets import ImageSet
from isckit.data.images import BrokenImage, decode, stop_message
from isckit.data.layouts import LAYOUTS
from isckit.data.packs import write_pack
from isckit.runs.steps import Output, make


def pack(images: ImageSet, folder: Path, *, side: int = 0, part_images: int = 50_000) -> list[Path]:
    """Write an image set into packs below `folder`, named as Meta names its archives; finished ones are kept.

    Args:
        images: one of the sets of DISC21.
        folder: of the packs; opened as a data set it holds this image set.
        side: 0 packs the files as they are. Else the pixels of each image, reduced or enlarged to this square.
        part_images: images a pack.

    Raises:
        BadInput: images that cannot be decoded, all of a pack listed, where pixels are packed.
        StaleArtifact: there is a pack of other images, or of another side.
        StorageFull: the disk filled up; finished packs stay.
    """
    pattern = LAYOUTS["Meta"][images.name][0]
    paths = []
    for number, start in enumerate(range(0, len(images), part_images)):
        part = images.subset(np.arange(start, min(start + part_images, len(images))))
        paths.append(folder / (pattern.replace("#", str(number)) + containers.PACK_SUFFIX))
        output = Output(paths[-1], {"images": part.content_digest(), "side": side})
        make(output, functools.partial(_pack, output.path, part, side))
    return paths


def _pack(path: Path, part: ImageSet, side: int) -> dict[str, int]:
    names = [f"{name}{part.sources[place['source']].suffix}" for name, place in zip(part.ids, part.places, strict=True)]
    sizes = np.full(len(part), side * side * 3) if side else containers.sizes(part.ids, part.places, part.sources)
    write_pack(path, names, sizes, _contents(part, side), side=side)
    return {"images": len(part)}


def _contents(part: ImageSet, side: int) -> Iterator[bytes]:
    broken: dict[str, str] = {}
    for i in tqdm(range(len(part)), f"pack {part.name}", unit="img"):
        if not side:
            yield part.read(i)
            continue
        try:
            image = decode(part.read(i), name=str(part.ids[i]))
        except BrokenImage as error:
            broken[str(part.ids[i])] = error.seen
            image = np.zeros((side, side, 3), np.uint8)
        yield cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).tobytes()
    if broken:
        raise stop_message(broken, otherwise="pack the files as they are: --side 0")
