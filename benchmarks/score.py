"""Figure: scoring 500,000 rows against a plain per-row Python scorer (>= 20 times faster, equal to 1e-12).

python benchmarks/score.py            the ratio, both measured in this run
python benchmarks/score.py --memory   peak memory of scoring 50,000 x 100,000 descriptors of 256 floats
python benchmarks/score.py --organisers CHECKOUT   whole command against that of facebookresearch/isc2021
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np

from isckit.data.ground_truth import read_ground_truth
from isckit.judge.score.score import score_descriptors, score_matches
from isckit.submission import open_descriptors, write_matches
from isckit.types import GroundTruth, Matches

ROWS, QUERIES, POSITIVES, REFERENCES = 500_000, 50_000, 10_000, 1_000_000
REQUIRED_RATIO = 20
Result = TypeVar("Result")


def instance(seed: int) -> tuple[Matches, GroundTruth]:
    """A submission of the contest's size: ten pairs a query, most true pairs found, scores with some ties."""
    rng = np.random.default_rng(seed)
    listed = np.char.mod("Q%05d", np.arange(QUERIES))
    queries = np.repeat(np.arange(QUERIES), ROWS // QUERIES)
    references = rng.permutation(REFERENCES)[:ROWS]
    positives = np.sort(rng.choice(QUERIES, POSITIVES, replace=False))
    true_references = np.char.mod("R%06d", references[positives * (ROWS // QUERIES)])
    true_references[rng.random(POSITIVES) < 0.2] = "R999999"
    scores = np.round(rng.normal(size=ROWS), 5)
    scores[positives * (ROWS // QUERIES)] += 3
    order = rng.permutation(ROWS)
    matches = Matches(listed[queries][order], np.char.mod("R%06d", references)[order], scores[order])
    return matches, GroundTruth(listed[positives], true_references, listed)


def score_per_row(matches: Matches, truth: GroundTruth) -> dict[str, float]:
    """The definitions, one row at a time: checks, uAP, Recall@P90, recall@1 and @10."""
    truths = set(zip(truth.query_ids.tolist(), truth.reference_ids.tolist(), strict=True))
    listed = set(truth.listed_queries.tolist())
    seen, rows = set(), []
    by_query: dict[str, list[tuple[str, float]]] = {}
    columns = (matches.query_ids.tolist(), matches.reference_ids.tolist(), matches.scores.tolist())
    for query, reference, score in zip(*columns, strict=True):
        if (query, reference) in seen or score != score:
            raise ValueError((query, reference, score))
        seen.add((query, reference))
        if query in listed:
            rows.append((score, (query, reference) in truths))
            by_query.setdefault(query, []).append((reference, score))
    rows.sort(key=lambda row: (-row[0], row[1]))
    n_pos, found, area, recall = len(truths), 0, 0.0, 0.0
    for rank, (_, correct) in enumerate(rows, start=1):
        if correct:
            found += 1
            area += found / rank
        if found / rank >= 0.9:
            recall = max(recall, found / n_pos)
    at_1 = at_10 = 0
    for query, reference in truths:
        own = [score for other, score in by_query.get(query, []) if other == reference]
        if own:
            rank = sum(score >= own[0] for _, score in by_query[query]) - 1
            at_1, at_10 = at_1 + (rank < 1), at_10 + (rank < 10)
    return {
        "average_precision": area / n_pos,
        "recall_at_p90": recall,
        "recall_at_1": at_1 / n_pos,
        "recall_at_10": at_10 / n_pos,
    }


def timed(function: Callable[..., Result], *args: object) -> tuple[float, Result]:
    start = time.perf_counter()
    result = function(*args)
    return time.perf_counter() - start, result


def ratio() -> int:
    """Best of five each, in turns, so that both meet the same load of the machine."""
    matches, truth = instance(0)
    ours = plain = float("inf")
    for _ in range(5):
        seconds, report = timed(score_matches, matches, truth)
        ours = min(ours, seconds, timed(score_matches, matches, truth)[0])
        seconds, figures = timed(score_per_row, matches, truth)
        plain = min(plain, seconds)
    gap = max(abs(getattr(report, name) - value) for name, value in figures.items())
    print(
        f"score_matches {ours * 1e3:.1f} ms, per-row Python {plain * 1e3:.1f} ms, "
        f"ratio {plain / ours:.1f} (required {REQUIRED_RATIO}), largest difference {gap:.1e}"
    )
    return 0 if plain / ours >= REQUIRED_RATIO and gap <= 1e-12 else 1


def write_instance(folder: Path) -> tuple[Path, Path]:
    """Write the rows and the truth of `instance` as CSV; their paths."""
    matches, truth = instance(0)
    rows, found = folder / "matches.csv", dict(zip(truth.query_ids.tolist(), truth.reference_ids.tolist(), strict=True))
    write_matches(rows, matches)
    text = "".join(f"{query},{found.get(query, '')}\n" for query in truth.listed_queries.tolist())
    (folder / "truth.csv").write_text("query_id,reference_id\n" + text)
    return rows, folder / "truth.csv"


def commands(organisers: Path) -> None:
    """Whole command against whole command, best of five each, in turns; ours with its interval of 200 resamples."""
    with tempfile.TemporaryDirectory() as name:
        rows, truth = write_instance(Path(name))
        theirs = [sys.executable, organisers / "scripts" / "compute_metrics.py"]
        theirs += ["--preds_filepath", rows, "--gt_filepath", truth]
        ours = [Path(sys.executable).with_name("isckit"), "score", rows, "--ground-truth", truth]
        best = [float("inf")] * 2
        for _ in range(5):
            for which, command in enumerate((ours, theirs)):
                environment = os.environ | {"PYTHONPATH": str(organisers)} if which else None
                run = partial(subprocess.run, command, check=True, capture_output=True, env=environment)
                best[which] = min(best[which], timed(run)[0])
    print(f"isckit score {best[0]:.2f} s, compute_metrics.py {best[1]:.2f} s: {best[1] / best[0]:.1f} times")


def write_synthetic(folder: Path, *, queries: int, references: int, dim: int) -> None:
    """Random vectors, written in blocks; each fifth query is a noisy copy of the reference of its number."""
    rng = np.random.default_rng(0)
    with h5py.File(folder / "descriptors.h5", "w") as file:
        for side, letter, n in (("reference", "R%06d", references), ("query", "Q%05d", queries)):
            file[f"{side}_ids"] = np.char.mod(letter, np.arange(n)).astype("S")
            target = file.create_dataset(side, (n, dim), "f4")
            for start in range(0, n, 10_000):
                block = rng.normal(size=(min(10_000, n - start), dim)).astype(np.float32)
                if side == "query":
                    # Noise 2.7 times as long as the unit vector: most copies are found, not all.
                    block[::5] = file["reference"][start : start + len(block)][::5] + 0.17 * block[::5]
                target[start : start + len(block)] = block / np.linalg.norm(block, axis=1, keepdims=True)
    lines = [f"Q{k:05d}," + (f"R{k:06d}" if k % 5 == 0 else "") for k in range(queries)]
    (folder / "truth.csv").write_text("\n".join(lines) + "\n")


def score_folder(folder: Path) -> None:
    """Score the files of a folder and print the figures with this process's peak memory."""
    start = time.perf_counter()
    with open_descriptors(folder / "descriptors.h5") as (queries, references):
        report = score_descriptors(queries, references, read_ground_truth(folder / "truth.csv"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(
        f"uAP {report.average_precision:.5f}, {report.protocol.candidates}, "
        f"{time.perf_counter() - start:.0f} s, peak memory {peak:.2f} GiB"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true", help="peak memory instead of the ratio")
    parser.add_argument("--organisers", type=Path, help="checkout of facebookresearch/isc2021: whole commands")
    parser.add_argument("--queries", type=int, default=50_000)
    parser.add_argument("--references", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        score_folder(options.folder)
        return 0
    if options.organisers:
        commands(options.organisers)
        return 0
    if not options.memory:
        return ratio()
    with tempfile.TemporaryDirectory() as name:
        write_synthetic(Path(name), queries=options.queries, references=options.references, dim=256)
        return subprocess.run([sys.executable, __file__, "--folder", name], check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
