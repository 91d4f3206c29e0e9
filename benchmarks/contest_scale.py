"""Growth of search and votes with the number of references: seconds, peak memory, disk, beside named limits.

    python benchmarks/contest_scale.py [--references 10000 100000] [--points FOLDER] [--evaluate] [--plot FILE]

Vectors are random unit vectors of 256 values. The exact search is measured against the bare products of the same
blocks, and faiss's flat index. Points are real ones where FOLDER has keypoints (cache/RUN/references/keypoints-*), else
those of drawn pictures. A distractor is a real image whose descriptors have noise of up to 10 levels and are rotated in
the space of descriptors by a permutation and a cyclic shift of each of the 16 histograms, another for each copy, so
that copies are as far from each other as from anything. Queries are images whose descriptors have the noise alone:
recall is the share whose image is among the candidates. `--evaluate` runs the official evaluation, 50,000 x 1,000,000.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import faiss
import matplotlib.pyplot as plt
import numpy as np
from threadpoolctl import threadpool_limits

from isckit import config
from isckit.features.points import Points
from isckit.features.sift import RootSift
from isckit.features.store import Block, Store, write_block
from isckit.matching.lists import search
from isckit.matching.local import inverted, words
from isckit.matching.local.vote import by_codes, votes_needed
from isckit.synthetic.procedural import picture
from isckit.vectors.above import pairs_above

QUERIES, VOTERS, DIM = 2_000, 100, 256


def unit(seed: int, n: int) -> np.ndarray:
    """Return random unit vectors."""
    x = np.random.default_rng(seed).standard_normal((n, DIM), np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def clocked(works: dict[str, Callable[[], object]], rounds: int = 3) -> dict[str, float]:
    """Return the seconds of each piece of work, the best of some rounds, in turns: all meet the same load."""
    best = dict.fromkeys(works, np.inf)
    for _ in range(rounds):
        for name, work in works.items():
            began = time.perf_counter()
            work()
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def products(left: np.ndarray, right: np.ndarray) -> None:
    """Multiply the blocks that a search multiplies, and look at nothing."""
    out = np.empty((512, 4_096), np.float32)
    for start in range(0, len(left), 512):
        for at in range(0, len(right), 4_096):
            block, part = left[start : start + 512], right[at : at + 4_096]
            np.matmul(block, part.T, out=out[: len(block), : len(part)])


def searches(references: int) -> dict[str, float]:
    """Return seconds of a global list, of neighbours, of pairs above a threshold, and of what they are held against."""
    left, right = unit(1, QUERIES), unit(2, references)
    exact = partial(
        search, left, right, query_keys=np.arange(QUERIES), reference_keys=np.arange(references), metric="ip"
    )
    index = faiss.IndexFlatIP(DIM)
    index.add(right)
    works: dict[str, Callable[[], object]] = {
        "products": lambda: products(left, right),
        "list": lambda: exact(n=10 * QUERIES),
        "neighbours": lambda: exact(n=10 * QUERIES, per_query=10),
        "faiss": lambda: index.search(left, 10),
        "above": lambda: pairs_above(left, right, threshold=0.27),
    }
    return {"references": references, **clocked(works), "peak_mb": peak()}


def peak() -> float:
    """Return the peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024


def turned(points: Points, seed: int) -> Points:
    """Return a distractor made from the points of an image."""
    rng = np.random.default_rng(seed)
    cells = points.descriptors.reshape(-1, 16, 8)[:, rng.permutation(16)]
    shifted = np.stack([np.roll(cells[:, cell], shift, axis=1) for cell, shift in enumerate(rng.integers(0, 8, 16))], 1)
    return noisy(Points(shifted.reshape(-1, 128), points.frames, points.area), seed)


def noisy(points: Points, seed: int) -> Points:
    """Return the points with noise of up to 10 levels, 6 on average, in every value."""
    noise = np.random.default_rng(seed).integers(-10, 11, points.descriptors.shape, np.int8)
    values = (points.descriptors.astype(np.int16) + noise).clip(0, 255).astype(np.uint8)
    return Points(values, points.frames, points.area)


def votes(references: int, folder: Path | None) -> dict[str, float]:
    """Return what an index of so many images takes, and what a query and side takes to vote."""
    with tempfile.TemporaryDirectory() as root, threadpool_limits(1):
        real = list(pictures(folder))
        queries = [noisy(real[k % len(real)], 10**6 + k) for k in range(VOTERS)]
        for start in range(0, references, 2_048):
            some = range(start, min(start + 2_048, references))
            images = [real[k] if k < len(real) else turned(real[k % len(real)], k) for k in some]
            names = np.array([f"R{k:07d}" for k in some])
            write_block(Path(root) / f"r/shard-{start // 2_048:05d}.h5", Block.of(names, images))
        write_block(Path(root) / "q/shard-00000.h5", Block.of(np.array([f"Q{k:05d}" for k in range(VOTERS)]), queries))
        store, asked = Store(Path(root) / "r"), Store(Path(root) / "q")
        total = sum(int(store.block(k).offsets[-1]) for k in range(len(store.paths)))
        lists = words.words_for(total)
        train = np.concatenate(
            [store.block(k).descriptors[:: 1 + total // (lists * 32)] for k in range(len(store.paths))]
        )
        vote = config.Vote(index="codes", lists=lists, probes=8, bits=14, least_votes=3)
        vocabulary = words.fit(train[: lists * 32].astype(np.float32), lists, seed=1)
        least = votes_needed(store, vocabulary, vote, references=references)
        vocabulary = config.replace(vocabulary, least=least)
        began = time.perf_counter()
        parts = []
        for number, shards in enumerate(inverted.parts_of(store)):
            path = Path(root) / f"index-{number:05d}.h5"
            inverted.save_part(path, inverted.lists_of(store, shards, vocabulary, lambda done: None))
            parts.append(inverted.read_part(path))
        indexed = time.perf_counter() - began
        disk = sum(path.stat().st_size for path in Path(root).glob("index-*"))
        by_codes(asked, parts, vocabulary, vote, workers=2)
        began = time.perf_counter()
        found = by_codes(asked, parts, vocabulary, vote, workers=2)
        seconds = (time.perf_counter() - began) / VOTERS
        right = sum(((found.query == k) & (found.reference == k % len(real))).any() for k in range(VOTERS))
        looked = np.mean([len(part.codes) / lists for part in parts]) * len(parts) * 8
        return {
            "references": references,
            "points": total,
            "words": lists,
            "entries_a_point": looked,
            "least_votes": least,
            "seconds_a_query_and_side": seconds,
            "candidates": len(found.query) / VOTERS,
            "recall": right / VOTERS,
            "index_seconds": indexed,
            "disk_mb": disk / 1e6,
            "peak_mb": peak(),
        }


def pictures(folder: Path | None):  # type: ignore[no-untyped-def]
    """Yield the points of real images, or of 200 drawn ones."""
    if folder is not None:
        store = Store(folder)
        yield from (store.points(row) for row in range(len(store.ids)))
        return
    sift = RootSift(config.Keypoints())
    yield from sift.detect([picture(k, size=(300, 400)) for k in range(200)])


def evaluate() -> dict[str, float]:
    """Return what the official list of the whole contest takes."""
    left, right = unit(1, 50_000), unit(2, 1_000_000)
    keys = np.arange(len(left)), np.arange(len(right))
    began = time.perf_counter()
    found = search(left, right, n=500_000, metric="l2", query_keys=keys[0], reference_keys=keys[1])
    whole = time.perf_counter() - began
    part = clocked({"products": lambda: products(left[:4_096], right[:131_072])})["products"]
    part *= (50_000 / 4_096) * (1_000_000 / 131_072)
    return {"rows": len(found.scores), "seconds": whole, "products": part, "peak_mb": peak()}


def plot(records: list[dict[str, float]], path: Path) -> None:
    """Draw seconds a query over the number of references, both by powers of ten."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    lines = ("products", "bare products"), ("list", "global list"), ("neighbours", "10 neighbours"), ("above", "above")
    for key, label in lines:
        rows = [record for record in records if key in record and "references" in record]
        axes.loglog([row["references"] for row in rows], [row[key] / QUERIES for row in rows], "o-", label=label)
    rows = [record for record in records if "points" in record]
    if rows:
        seconds = [row["seconds_a_query_and_side"] for row in rows]
        axes.loglog([row["references"] for row in rows], seconds, "s-", label="votes, one side")
    axes.set(xlabel="references", ylabel="seconds a query, two cores")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run each measurement in a process of its own, as memory is the peak of a process, and print the records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--references", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--points", type=Path)
    parser.add_argument("--evaluate", action="store_true")
    parser.add_argument("--plot", type=Path, help="picture of the growth")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        what, count = given.one.split(":")
        made = {"search": searches, "votes": lambda n: votes(n, given.points), "evaluate": lambda _: evaluate()}
        print(json.dumps(made[what](int(count))))
        return
    jobs = [f"{what}:{count}" for what in ("search", "votes") for count in given.references]
    records: list[dict[str, float]] = []
    for job in jobs + ["evaluate:0"] * given.evaluate:
        words_ = [sys.executable, __file__, "--one", job, *(["--points", str(given.points)] if given.points else [])]
        done = subprocess.run(words_, capture_output=True, text=True, check=True)
        print(job, done.stdout.strip(), flush=True)
        records.append(json.loads(done.stdout))
    if given.plot:
        plot(records, given.plot)


if __name__ == "__main__":
    main()
