"""Damaged files by the thousand: each is read, or refused with a message; none ends or holds up the program.

    python benchmarks/fuzz.py [--inputs 400] [--seed 0] [--kind hdf5]

Every kind of file that the kit reads begins as a whole one, which has to be accepted, and is damaged by a seeded hand:
bytes changed, cut out, doubled, cut off, put from elsewhere. A table tells, by kind, how many were refused (KitError),
accepted, wrong (accepted, with less in it than is said), faulty (another error), ended the process, or took longer than
ten seconds; and the peak memory. Exit code 1 where any was wrong, faulty, ended or hung.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import multiprocessing
import re
import resource
import signal
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from isckit import config
from isckit.data.ground_truth import read_ground_truth
from isckit.data.images import decode
from isckit.data.layouts import open_disc
from isckit.data.packs import read_index, write_pack
from isckit.judge.rules.form import check_descriptors_form, check_matches_form
from isckit.recipes.catalogue import recipe
from isckit.runs.arrays import read_arrays, write_arrays
from isckit.runs.checkpoints import read_recipe, read_weights
from isckit.runs.records import Receipt, read_json
from isckit.submission import read_descriptors, read_matches, write_descriptors
from isckit.types import Embeddings, KitError, Role

PATIENCE = 10
Reader = Callable[[Path], object]


def pictures() -> dict[str, bytes]:
    """One file of every format."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    found = {}
    for form in ("jpeg", "png", "gif", "webp", "tiff", "bmp"):
        held = io.BytesIO()
        Image.fromarray(noise).save(held, form)
        found[form] = held.getvalue()
    return found


def descriptors(folder: Path) -> bytes:
    """A Descriptor file."""
    rng = np.random.default_rng(0)
    sides = [
        Embeddings.whole(role, np.char.mod(form, np.arange(count)), rng.normal(size=(count, 8)).astype(np.float32))
        for role, form, count in ((Role.QUERY, "Q%05d", 20), (Role.REFERENCE, "R%06d", 40))
    ]
    write_descriptors(folder / "d.h5", *sides)
    return (folder / "d.h5").read_bytes()


def archive() -> bytes:
    """A zip archive of references."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        for number in range(8):
            file.writestr(f"R{number:06d}.jpg", pictures()["jpeg"])
    return held.getvalue()


def read_archive(path: Path) -> None:
    """Open and read what is there; fewer images than there are, without a word, are wrong."""
    disc = open_disc(path.parent)
    if disc.references is None or disc.refused:
        raise KitError(seen="refused", allowed="", remedy="")
    assert len(disc.references) == 8, f"{len(disc.references)} of 8 images"
    for row in range(8):
        disc.references.read(row)


def read_form(check: Callable[[Path], list], read: Reader) -> Reader:
    """Judge the form, then read."""

    def both(path: Path) -> None:
        assert isinstance(check(path), list)
        read(path)

    return both


def weights(path: Path) -> None:
    """Read tensors, and the recipe in the header."""
    read_recipe(path)
    read_weights(path)


def kinds(folder: Path) -> dict[str, tuple[str, bytes, Reader]]:
    """Kind of file: its name, one that is whole, what reads it."""
    tensors = {f"network.layer{k}.weight": torch.randn(3, 4) for k in range(4)}
    held = io.BytesIO()
    torch.save(tensors, held)
    scripted = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 4)), scripted)
    write_arrays(folder / "a.npz", {"words": np.arange(12.0).reshape(3, 4)})
    with h5py.File(folder / "gz.h5", "w") as file:
        for name, values in (("query", np.random.default_rng(0).normal(size=(20, 8)).astype("f4")),):
            file.create_dataset(name, data=values, compression="gzip", chunks=(4, 8), shuffle=True, fletcher32=True)
        file["query_ids"] = np.char.mod("Q%05d", np.arange(20)).astype("S6")
        file["reference"], file["reference_ids"] = file["query"][:], np.char.mod("R%06d", np.arange(20)).astype(object)
    pack = [pictures()["jpeg"]] * 4
    write_pack(folder / "p.h5", [f"R{k:06d}.jpg" for k in range(4)], np.array([len(p) for p in pack]), pack)
    rows = "".join(f"Q{k:05d},R{k:06d},{k / 7}\n" for k in range(40))
    receipt = {"made_from": {"images": "0"}, "facts": {"images": 3, "replaced": {"a": "b"}}, "packages": {"torch": "2"}}
    settings = config.to_json(recipe("lyakaap.mini"))
    forms = {
        "matching.csv": ("m.csv", f"query_id,reference_id,score\n{rows}", read_form(check_matches_form, read_matches)),
        "truth": ("t.csv", "query_id,reference_id\n" + re.sub(r",[^,]*\n", "\n", rows), read_ground_truth),
        "receipt": ("r.json", json.dumps(receipt), lambda path: read_json(path, Receipt)),
        "recipe": ("r.json", settings, _recipe),
        "recipe.yaml": ("r.yaml", "extends: lyakaap.mini\nensemble: {dim: 64}\nseed: 3\n", _recipe),
    }
    return {
        **{f"image.{suffix}": (f"x.{suffix}", data, _decoded) for suffix, data in pictures().items()},
        **{kind: (name, text.encode(), reader) for kind, (name, text, reader) in forms.items()},
        "hdf5": ("d.h5", descriptors(folder), read_form(check_descriptors_form, read_descriptors)),
        "hdf5.packed": ("d.h5", (folder / "gz.h5").read_bytes(), read_form(check_descriptors_form, read_descriptors)),
        "pack": ("p.h5", (folder / "p.h5").read_bytes(), read_index),
        "zip": ("references_0.zip", archive(), read_archive),
        "safetensors": ("w.safetensors", save(tensors, {"recipe": settings}), weights),
        "torch": ("w.pth", held.getvalue(), weights),
        "torchscript": ("w.pt", scripted.getvalue(), weights),
        "npz": ("a.npz", (folder / "a.npz").read_bytes(), _arrays),
    }


def _decoded(path: Path) -> None:
    pixels = decode(path.read_bytes(), name="x")
    assert pixels.ndim == 3 and pixels.dtype == np.uint8, pixels.shape


def _recipe(path: Path) -> None:
    assert recipe(str(path)).members is not None


def _arrays(path: Path) -> None:
    with read_arrays(path, {"words": "f2"}, what="words", remedy="write them again") as found:
        assert found["words"].ndim == 2


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """The same with one to four changes, more of them in its first and last bytes, where formats say what is where."""
    data = bytearray(whole)
    for _ in range(int(rng.integers(1, 5))):
        edge = min(len(data), 200)
        at = int(rng.choice([rng.integers(edge), len(data) - 1 - rng.integers(edge), rng.integers(len(data))]))
        match int(rng.integers(6)):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF]))
            case 2:
                del data[at : at + int(rng.integers(1, 9))]
            case 3:
                data[at:at] = bytes(rng.integers(0, 256, int(rng.integers(1, 9)), np.uint8))
            case 4:
                del data[at:]
            case _:
                source = int(rng.integers(len(data)))
                piece = data[source : source + 8]
                data[at : at + len(piece)] = piece
        if not data:
            return b""
    return bytes(data)


def attempt(reader: Reader, path: Path, send: Callable[[str], None]) -> None:
    """Read one file, in this process."""

    def late(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    try:
        reader(path)
        send("accepted")
    except KitError:
        send("refused")
    except AssertionError as error:
        send(f"wrong {error}")
    except TimeoutError:
        send("hung")
    except Exception as error:
        send(f"faulty {type(error).__name__}: {str(error)[:150]}")
    finally:
        signal.alarm(0)


def work(kind: str, first: int, inputs: int, seed: int, folder: Path, pipe: Connection) -> None:
    """Try inputs from `first` on, and tell the outcome of each, in a process of its own."""
    logging.disable(logging.CRITICAL)
    name, whole, reader = kinds(folder)[kind]
    for number in range(first, inputs):
        path = folder / f"{kind}-{number}" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(damaged(whole, np.random.default_rng([seed, number])) if number else whole)
        attempt(reader, path, lambda outcome: pipe.send((outcome, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)))


def trial(kind: str, inputs: int, seed: int) -> tuple[Counter[str], list[str], int]:
    """Try all inputs of a kind; return outcomes, what was bad, and the peak memory in MB."""
    outcomes: Counter[str] = Counter()
    bad: list[str] = []
    peak = done = 0
    with tempfile.TemporaryDirectory() as folder:
        while done < inputs:
            ours, theirs = multiprocessing.Pipe(duplex=False)
            process = multiprocessing.get_context("fork").Process(
                target=work, args=(kind, done, inputs, seed, Path(folder), theirs)
            )
            process.start()
            theirs.close()
            try:
                while done < inputs:
                    outcome, memory = ours.recv()
                    peak = max(peak, memory // 1024)
                    outcomes[outcome.split(" ")[0]] += 1
                    well = outcome == "accepted" or (outcome == "refused" and done)
                    bad += [] if well else [f"{kind} {done}: {outcome}"]
                    done += 1
            except EOFError:
                outcomes["ended"] += 1
                bad.append(f"{kind} {done}: the process ended")
                done += 1
            process.join()
    return outcomes, bad, peak


def main() -> int:
    """Try all kinds, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=400, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", help="only this one")
    words = parser.parse_args()
    columns = ("refused", "accepted", "wrong", "faulty", "ended", "hung")
    print(f"{'kind':16}{'inputs':>8}" + "".join(f"{column:>10}" for column in columns) + f"{'peak MB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        names = list(kinds(Path(folder)))
    bad: list[str] = []
    for kind in [words.kind] if words.kind else names:
        outcomes, found, peak = trial(kind, words.inputs, words.seed)
        bad += found
        figures = "".join(f"{outcomes[column]:>10}" for column in columns)
        print(f"{kind:16}{sum(outcomes.values()):>8}{figures}{peak:>10}", flush=True)
    print("\n".join(bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
