"""A set of images of one role: sorted ids, and the place of the bytes of each. `layouts` finds those of DISC21."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isckit.data import containers, contents
from isckit.data.containers import PLACE, Source
from isckit.data.folders import images_below
from isckit.data.images import FORMATS, broken
from isckit.types import BadInput, MissingInput, Role

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one role, by sorted id. Columnar, so it is cheap to send to loader workers.

    Attributes:
        name: of the set; DISC21 has train, references, queries and final_queries.
        role: the use that the images are allowed for.
        ids: (n,) sorted unique text.
        places: (n,) of `containers.PLACE`.
        sources: the folders and archives that `places` refers to.
    """

    name: str
    role: Role
    ids: np.ndarray
    places: np.ndarray
    sources: tuple[Source, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def where(self, i: int) -> str:
        """Return the path of image i; for one in an archive, the archive's path and the file's name."""
        source = self.sources[self.places[i]["source"]]
        return f"{source.path}/{self.ids[i]}{source.suffix}"

    def read(self, i: int) -> bytes:
        """Read the file of image i. Threads and processes, forked or not, may read at the same time.

        Raises:
            MissingInput: the file, or its archive, has gone since it was listed.
            BrokenImage: it cannot be read, or the archive is damaged there.
        """
        place, name = self.places[i], str(self.ids[i])
        source = self.sources[place["source"]]
        try:
            if source.is_archive:
                return containers.read_member(source.path, place, name=name + source.suffix)
            return containers.read_file(self.where(i))
        except FileNotFoundError as error:
            raise MissingInput(
                seen=f"{error.filename} is gone",
                allowed="files that stay while they are read",
                remedy="put it back, or repeat the command without it",
            ) from error
        except (OSError, ValueError) as error:
            raise broken(f"cannot be read from {source.path}: {error}", name=name) from error

    def content_digest(self) -> str:
        """Return the sha256 of ids, sizes and CRC-32 of all images: equal for a folder and its zip archive.

        Raises:
            MissingInput: a file has gone since it was listed.
            BadInput: it cannot be looked at.
        """
        return contents.content_digest(self.ids, self.places, self.sources, self.read)

    def subset(self, rows: np.ndarray) -> ImageSet:
        """Return the given rows (boolean mask, or ascending numbers), as a set of the same name and role."""
        return ImageSet(self.name, self.role, self.ids[rows], self.places[rows], self.sources)


@dataclass(frozen=True, eq=False)
class GivenImages(ImageSet):
    """Images handed over one by one: files from anywhere, or files in memory.

    Attributes:
        files: (n,) path or bytes of each.
    """

    files: tuple[Path | bytes, ...] = ()

    def where(self, i: int) -> str:
        """Return the path of image i, or its id where it is in memory."""
        source = self.files[i]
        return str(self.ids[i]) if isinstance(source, bytes) else str(source)

    def read(self, i: int) -> bytes:
        """Return the file of image i.

        Raises:
            MissingInput: the file is not there.
            BrokenImage: it cannot be read.
        """
        source = self.files[i]
        if isinstance(source, bytes):
            return source
        try:
            return containers.read_file(source)
        except FileNotFoundError as error:
            raise MissingInput(
                seen=f"no file {source}", allowed="existing images", remedy="correct the path"
            ) from error
        except (OSError, ValueError) as error:
            raise broken(f"cannot be read: {error}", name=str(source)) from error

    def content_digest(self) -> str:
        """Return the sha256 over ids and contents."""
        sha = hashlib.sha256("\n".join(self.ids.tolist()).encode())
        for i in range(len(self)):
            sha.update(hashlib.sha256(self.read(i)).digest())
        return sha.hexdigest()

    def subset(self, rows: np.ndarray) -> GivenImages:
        """Return the given rows (boolean mask, or ascending numbers), as a set of the same name and role."""
        files = tuple(self.files[row] for row in np.arange(len(self))[rows].tolist())
        return GivenImages(self.name, self.role, self.ids[rows], self.places[rows], self.sources, files)


def given_images(sources: Mapping[str, Path | bytes], role: Role) -> GivenImages:
    """Return images handed over by id; see `GivenImages`.

    Raises:
        BadInput: there is none.
    """
    if not sources:
        raise BadInput(seen="no images", allowed="at least one", remedy="pass a folder, paths or pictures")
    ids = sorted(sources)
    return GivenImages(
        "given", role, np.array(ids), np.zeros(len(ids), PLACE), (), tuple(sources[name] for name in ids)
    )


def open_folder(path: Path, role: Role) -> ImageSet:
    """Open any folder of images, subfolders and linked folders included.

    Ids are paths relative to it without extension; with it, where two names differ in nothing else. Entries that are
    not read are counted in a warning, by reason, the first of each named; hidden ones are an operating system's.

    Raises:
        MissingInput: no such folder, or no image in it.
    """
    if not path.is_dir():
        raise MissingInput(seen=f"no folder {path}", allowed="a folder of images", remedy="check the path")
    names, left = images_below(path)
    summary = "; ".join(f"{len(found):,} {reason} ({containers.some(found)})" for reason, found in left.items())
    if not names:
        raise MissingInput(
            seen=f"no image in {path}, {f'but {summary}' if summary else containers.contents(path)}",
            allowed=f"image files: {', '.join(FORMATS)}",
            remedy="pass the folder that holds the images",
        )
    if left:
        count = sum(map(len, left.values()))
        log.warning("%s: %d of %d entries are not read: %s", path, count, count + len(names), summary)
    parts = list(map(os.path.splitext, names))
    stems = Counter(stem for stem, _ in parts)
    found = sorted((stem, suffix) if stems[stem] == 1 else (stem + suffix, "") for stem, suffix in parts)
    listing = containers.listing_of(path, found, np.zeros(len(found), PLACE), (), is_archive=False)
    return ImageSet(path.resolve().name, role, listing.ids, listing.places, listing.sources)
