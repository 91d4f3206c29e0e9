"""Walks a folder of anybody's files: which are images, and why the others are none."""

from __future__ import annotations

import os
import tarfile
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path

from isckit.data.containers import is_system
from isckit.data.images import extensions, is_image

Left = dict[str, list[str]]
"""Reason -> entries that are not read, relative to the folder."""

_NO_TEXT = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories of controls, broken encodings and line ends, which would break the lines of every list of ids."""
_HEAD = 32
_HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_ARCHIVES = (".7z", ".rar", ".001", ".z01", ".gz", ".bz2", ".xz", ".zst")


def images_below(root: Path) -> tuple[list[str], Left]:
    """Return the image files below a folder, relative to it with / between the parts, and what is left out by reason.

    A file with the extension of an image is taken for one, broken or not; of any other its content decides. Linked
    folders are entered, each folder once.
    """
    known, left, names = extensions(), Left(), []
    for name, entry in _entries(root, left):
        if any(unicodedata.category(letter) in _NO_TEXT for letter in name):
            left.setdefault("names that are no text", []).append(ascii(name))
        elif f".{name.lower().rpartition('.')[2]}" in known or is_image(entry.path):
            names.append(name)
        else:
            left.setdefault(_reason(entry.path), []).append(name)
    return names, left


def _entries(root: Path, left: Left) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield the regular files below a folder, links to files among them."""
    waiting, entered = [("", str(root))], {_identity(root)}
    while waiting:
        prefix, folder = waiting.pop()
        try:
            with os.scandir(folder) as listed:
                entries = sorted((entry for entry in listed if not is_system(entry.name)), key=lambda entry: entry.name)
        except OSError as error:
            left.setdefault(f"folders that cannot be listed: {error.strerror}", []).append(prefix or str(root))
            continue
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir():
                if _identity(entry.path) in entered:
                    left.setdefault("folders met before, by a link", []).append(name)
                    continue
                entered.add(_identity(entry.path))
                waiting.append((name + "/", entry.path))
            elif entry.is_file():
                yield name, entry
            else:
                reason = "links that lead nowhere" if _is_dangling(entry) else "pipes, sockets or devices"
                left.setdefault(reason, []).append(name)


def _identity(path: str | Path) -> tuple[int, int]:
    found = os.stat(path)  # noqa: PTH116  a Path for each folder would take longer than the call
    return found.st_dev, found.st_ino


def _is_dangling(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not Path(entry.path).exists()


def _reason(path: str) -> str:
    try:
        with Path(path).open("rb") as handle:
            head = handle.read(_HEAD)
    except OSError as error:
        return f"files that cannot be read: {error.strerror}"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC:
        return "HEIC pictures, to be converted to JPEG or PNG"
    if path.lower().endswith(_ARCHIVES) or zipfile.is_zipfile(path) or tarfile.is_tarfile(path):
        return "archives, to be unpacked"
    return "files that are no images"
