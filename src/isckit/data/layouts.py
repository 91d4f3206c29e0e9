"""Copies of DISC21 as folders, zip archives or packs of the kit, whole or in part. Weight files: `models.layouts`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from isckit.data import containers
from isckit.data.containers import PACK_SUFFIX, Listing, contents, list_archive, list_folder, list_pack, some
from isckit.data.ground_truth import disc_numbers, phases_of
from isckit.data.image_sets import ImageSet, open_folder
from isckit.types import BadInput, MissingInput, Role

__all__ = ["GROUND_TRUTH", "LAYOUTS", "ROLES", "Disc", "ImageSet", "open_disc", "open_folder", "require"]

ROLES = {"train": Role.TRAIN, "references": Role.REFERENCE, "queries": Role.QUERY, "final_queries": Role.QUERY}
"""The image sets of DISC21; `queries` are those of phase 1, `final_queries` those of phase 2."""
SETS = tuple(ROLES)
_TRAIN, _REFERENCES, _QUERIES, _FINAL = range(len(SETS))
LAYOUTS: dict[str, dict[str, tuple[str, ...]]] = {
    "isc2021": {
        "train": ("train",),
        "references": ("references",),
        "queries": ("queries",),
        "final_queries": ("final_queries",),
    },
    "public host": {
        "train": ("train_#",),
        "references": ("references_#",),
        "queries": ("dev_queries",),
        "final_queries": ("final_queries",),
    },
    "Meta": {
        "train": ("train_50k_#",),
        "references": ("refs_50k_#",),
        "queries": ("dev_queries_50k_#",),
        "final_queries": ("test_queries_50k_#",),
    },
    "contest": {
        "train": ("training_images", "train_images"),
        "references": ("reference_images",),
        "queries": ("query_images",),
        "final_queries": ("phase2_query_images", "query_images_phase2"),
    },
    "SSCD": {"train": ("training",), "references": ("val_ref",), "queries": ("val_query",)},
}
"""Names of the folders, or of zip archives without `.zip` and packs without `.h5`, that hold each set; # is any number.
CopyNCE's layout is the contest's with the queries of both phases in one folder. All may lie below `images/`."""
GROUND_TRUTH = {
    1: ("dev_ground_truth.csv", "dev_queries_groundtruth.csv", "public_ground_truth.csv"),
    2: ("final_ground_truth.csv", "test_queries_groundtruth.csv"),
}
"""Names of the ground truth of each phase, whole files before the public half."""

_FILE = re.compile(r"(Q\d{5}|R\d{6}|T\d{6})(\.(?i:jpe?g|png))", re.ASCII)
_DEPTH = 4
"""Levels of folders inside a set's folder that are searched."""


@dataclass(frozen=True, eq=False)
class Disc:
    """A copy of DISC21, or a part of one.

    Attributes:
        root: the folder that was opened.
        layout: the layouts recognised, joined by " + ".
        train, references, queries, final_queries: the image sets at hand.
        ground_truth: phase -> file.
        problems: faults of the folder, one sentence each.
        refused: set -> the problems that make it ambiguous; `require` refuses such a set.
    """

    root: Path
    layout: str
    train: ImageSet | None = None
    references: ImageSet | None = None
    queries: ImageSet | None = None
    final_queries: ImageSet | None = None
    ground_truth: dict[int, Path] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    refused: dict[str, tuple[str, ...]] = field(default_factory=dict)


def require(disc: Disc, name: str) -> ImageSet:
    """Return the image set of this name.

    Raises:
        MissingInput: it is not there; the message names the places searched.
        BadInput: its ids are mixed up or occur twice, or a part of it cannot be listed.
    """
    assert name in ROLES, name
    if name in disc.refused:
        raise BadInput(
            seen="; ".join(disc.refused[name]),
            allowed=f"each id once, in a whole folder or archive of the {name} set",
            remedy="move, remove or replace the files named",
        )
    images: ImageSet | None = getattr(disc, name)
    if images is None:
        places = [place for layout in LAYOUTS.values() for place in layout.get(name, ())]
        raise MissingInput(
            seen=f"no {name} images in {disc.root}, {contents(disc.root)}",
            allowed=f"there or below images/ a folder, or a zip archive, named (# a number) {', '.join(places)}",
            remedy=f"put the {name} images there, or pass the folder that holds them; see `isckit doctor`",
        )
    return images


def open_disc(root: Path) -> Disc:
    """Find all of DISC21 that is at hand below `root`, in any layout of LAYOUTS or a mixture of them.

    Bad contents do not raise here but stand in `problems` and `refused`, for `require` and the doctor. An image that
    lies in a folder and in an archive is read from the folder.

    Raises:
        MissingInput: there is no folder `root`.
    """
    if not root.is_dir():
        raise MissingInput(
            seen=f"no folder {root}",
            allowed="a folder that holds DISC21 or a part of it",
            remedy="check the path given as --data",
        )
    faults: dict[str, list[str]] = {name: [] for name in ROLES}
    notes: list[str] = []
    found = _found(root, faults, notes)
    listing = containers.join(part for _, _, part in found)
    claims = np.repeat(
        np.array([SETS.index(claim) for _, claim, _ in found], np.int64),
        np.array([len(part.ids) for _, _, part in found], np.int64),
    )
    sets = _sets(listing, claims, faults, notes)
    if listing.foreign:
        notes.append(f"{len(listing.foreign)} files are no DISC21 images, ignored: {some(listing.foreign)}")
    if not sets:
        notes.append(f"no DISC21 images in {root}, {contents(root)}")
    refused = {name: tuple(found_wrong) for name, found_wrong in faults.items() if found_wrong}
    return Disc(
        root,
        _layout({stem for stem, _, _ in found}, sets),
        **sets,
        ground_truth=_ground_truth(root),
        problems=(*(fault for group in refused.values() for fault in group), *notes),
        refused=refused,
    )


def ids_of(disc: Disc | None, image_set: str) -> np.ndarray | None:
    """Return the ids of an image set, where it is at hand."""
    images = getattr(disc, image_set) if disc else None
    return images.ids if images is not None else None


def given_disc(data: Path | None) -> Disc | None:
    """Return DISC21, or the part of it, in a folder given with --data; None where none is given.

    Raises:
        MissingInput: there is no such folder, or nothing of DISC21 in it.
    """
    if data is None:
        return None
    disc = open_disc(data)
    if not disc.ground_truth and all(getattr(disc, name) is None for name in ROLES):
        raise MissingInput(
            seen="; ".join(disc.problems),
            allowed="a folder that holds DISC21 or a part of it",
            remedy=f"check the path given as --data, and see: isckit doctor --data {data}",
        )
    return disc


def _claim(stem: str) -> str | None:
    """Return the set that a folder or archive of this name holds."""
    return next((name for layout in LAYOUTS for name in LAYOUTS[layout] if _holds(layout, name, stem)), None)


def _holds(layout: str, name: str, stem: str) -> bool:
    return any(re.fullmatch(place.replace("#", r"\d+"), stem.lower()) for place in LAYOUTS[layout].get(name, ()))


def _is_pack(name: str) -> bool:
    return name.lower().endswith(PACK_SUFFIX)


def _is_packed(name: str) -> bool:
    return name.lower().endswith(".zip") or _is_pack(name)


def _found(root: Path, faults: dict[str, list[str]], notes: list[str]) -> list[tuple[str, str, Listing]]:
    """Return (name, set claimed, images) of each folder and archive of a known name, and of those inside them."""
    bases = [base for base in (root, root / "images") if base.is_dir()]
    paths = [
        Path(entry)
        for base in bases
        for entry in os.scandir(base)
        if entry.is_dir() or (entry.is_file() and _is_packed(entry.name))
    ]
    found = []
    for path in sorted(paths):
        stem = path.stem if _is_packed(path.name) else path.name
        if (claim := _claim(stem)) is None:
            continue
        parts = list(_tree(path, faults[claim], depth=_DEPTH))
        found += [(stem, claim, part) for part in parts]
        if parts and not sum(len(part.ids) for part in parts):
            notes.append(f"{path} holds no image")
    return found


def _tree(path: Path, faults: list[str], *, depth: int) -> Iterator[Listing]:
    """Return the listing of a folder or archive, then those of the folders and archives inside the folder."""
    packed = _is_packed(path.name) and not path.is_dir()
    listed = (list_pack if _is_pack(path.name) else list_archive) if packed else list_folder
    try:
        part = listed(path, grammar=_FILE)
    except BadInput as error:
        faults.append(error.seen)
        return
    except OSError as error:
        faults.append(f"{path} cannot be listed: {error}")
        return
    inner = [] if packed or not depth else [name for name in part.foreign if _is_packed(name) or Path(name).is_dir()]
    yield replace(part, foreign=tuple(sorted(set(part.foreign) - set(inner))))
    for name in inner:
        yield from _tree(Path(name), faults, depth=depth - 1)


def _sets(listing: Listing, claims: np.ndarray, faults: dict[str, list[str]], notes: list[str]) -> dict[str, ImageSet]:
    """Return the image sets, by the ids; an id in the folder of another set is a fault of that set."""
    phases = phases_of(listing.ids)
    is_reference = disc_numbers(listing.ids, "R") >= 0
    kinds = np.select([phases == 1, phases == 2, is_reference], [_QUERIES, _FINAL, _REFERENCES], _TRAIN)
    # One folder may hold the queries of both phases: CopyNCE's does.
    at_home = (kinds == claims) | ((claims == _QUERIES) & (kinds == _FINAL))
    for number in np.unique(claims[~at_home]):
        stray = listing.ids[(claims == number) & ~at_home].tolist()
        faults[SETS[number]].append(f"{len(stray)} images of other sets lie among the {SETS[number]}: {some(stray)}")
    sets = {}
    for number, name in enumerate(SETS):
        if len(rows := np.flatnonzero(at_home & (kinds == number))):
            sets[name] = _once(name, listing, rows, faults[name], notes)
    return sets


def _once(name: str, listing: Listing, rows: np.ndarray, faults: list[str], notes: list[str]) -> ImageSet:
    """Return the set with each id once; an id that lies twice in folders, or twice in archives, is a fault."""
    archived = np.array([source.is_archive for source in listing.sources], bool)[listing.places["source"][rows]]
    order = np.lexsort((archived, listing.ids[rows]))
    rows, archived = rows[order], archived[order]
    images = ImageSet(name, ROLES[name], listing.ids[rows], listing.places[rows], listing.sources)
    repeated = np.zeros(len(rows), bool)
    repeated[1:] = images.ids[1:] == images.ids[:-1]
    packed_too = repeated & archived & ~np.roll(archived, 1)
    if packed_too.any():
        copies = [images.where(i) for i in np.flatnonzero(packed_too)[:6]]
        notes.append(f"{packed_too.sum()} {name} images lie in a folder, which is read, and packed: {some(copies)}")
    twice = np.flatnonzero(repeated & ~packed_too)
    if len(twice):
        pairs = [f"{images.where(i - 1)} and {images.where(i)}" for i in twice[:6]]
        faults.append(f"{len(twice)} {name} ids lie twice: {some(pairs)}")
    return images.subset(~repeated)


def _layout(stems: set[str], sets: dict[str, ImageSet]) -> str:
    """Return the fewest known layouts that explain the names found."""
    explained = {layout: {s for s in stems if any(_holds(layout, name, s) for name in ROLES)} for layout in LAYOUTS}
    names, left = [], set(stems)
    while left:
        names.append(max(LAYOUTS, key=lambda layout: len(explained[layout] & left)))
        left -= explained[names[-1]]
    if names == ["contest"] and "final_queries" in sets and not any(_claim(stem) == "final_queries" for stem in stems):
        return "CopyNCE"
    return " + ".join(names) or "none"


def _ground_truth(root: Path) -> dict[int, Path]:
    """Return phase -> file: in the folder itself or its list_files/, and only then beside the folder."""
    found: dict[int, Path] = {}
    for phase, names in GROUND_TRUTH.items():
        places = [home / below for home in (root, root.resolve().parent) for below in ("", "list_files")]
        paths = [place / name for near in (places[:2], places[2:]) for name in names for place in near]
        if path := next(filter(Path.is_file, paths), None):
            found[phase] = path
    return found
