"""Why two submissions differ: causes in the order of the pipeline, then what they do to vectors, rows and scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isckit.config.differences import recipe_differences
from isckit.data.containers import some
from isckit.data.ground_truth import id_codes
from isckit.judge.audit.images import changed
from isckit.judge.audit.manifest import artifact_files, image_sets, kept_digests, read_manifest
from isckit.judge.rules.finding import Case
from isckit.judge.state import WORDS, code_changes, is_further_part, parts
from isckit.runs.artifacts import file_digest
from isckit.runs.workspace import Workspace
from isckit.submission import SIDES, open_descriptors, read_matches
from isckit.types import Embeddings

Manifest = dict[str, Any]
IDENTICAL = "byte-identical"
_SHOWN = 12
_BLOCK = 16_384


@dataclass(frozen=True)
class _Side:
    """A submission and its manifest."""

    case: Case
    manifest: Manifest

    @staticmethod
    def open(folder: Path) -> _Side:
        return _Side(Case(*Workspace.locate(folder)), read_manifest(folder))

    def part(self, part: str) -> Manifest:
        """Record of the weights, the PCA ("ensemble"), the bank, or of another part; empty where there is none."""
        known = parts(self.case.workspace, self.case.name) if part in WORDS else {}
        return self.manifest["checkpoint"].get(known[part].name if known else part, {})

    def further(self) -> set[str]:
        """Return what was fitted beside PCA and bank."""
        files = self.manifest["checkpoint"]
        return {file for file in files if is_further_part(self.case.workspace, self.case.name, file)}

    def foreign(self) -> list[str]:
        """Return the submission files that are not those of the manifest."""
        records = self.manifest["artifacts"]
        files = artifact_files(self.case)
        return [name for name in files if file_digest(files[name]) != records.get(name, {}).get("sha256")]

    def listing(self, image_set: str) -> str | None:
        """Return what receipts know an image set by: digest of ids and sizes."""
        receipts = self.manifest["embeddings"].items()
        told = (r["made_from"].get("images") for key, r in receipts if key.startswith(f"{image_set}/"))
        return next((listing for listing in told if listing), None)


def explain(first: Path, second: Path) -> str:
    """Return in words why two submissions differ: `first` is "there", `second` is "now". Phases and roots may differ
    too.

    Raises:
        MissingInput: one of them has no manifest.
        BadInput: a manifest or a file cannot be read.
    """
    there, now = _Side.open(first), _Side.open(second)
    causes = _causes(there, now)
    tracks = {
        "descriptors": descriptor_distance(
            *(s.case.workspace.descriptors(s.case.phase, s.case.name) for s in (there, now))
        ),
        "matches": match_distance(*(s.case.workspace.matches(s.case.phase, s.case.name) for s in (there, now))),
    }
    lines = [f"there: {first}", f"now:   {second}"]
    if all(words == [IDENTICAL] for words in tracks.values()):
        lines.append("both files are byte-identical")
    lines += [
        f"{folder}: {name} is not the file that its manifest tells of: isckit audit verify {folder}"
        for folder, side in ((first, there), (second, now))
        for name in side.foreign()
    ]
    lines += ["causes, in the order of the pipeline", *_blocks(causes)]
    return "\n".join([*lines, "effects", *_blocks(tracks | {"scores": _scores(there, now)})])


def _blocks(found: dict[str, list[str]]) -> list[str]:
    lines = []
    for part, words in found.items():
        shown = words[:_SHOWN] + ([f"and {len(words) - _SHOWN} more"] if words[_SHOWN:] else [])
        lines += [f"  {part if k == 0 else '':14} {line}" for k, line in enumerate(shown or ["the same"])]
    return lines


def _causes(there: _Side, now: _Side) -> dict[str, list[str]]:
    """Differences by part of the pipeline; of weights and fitted parts, with what explains them."""
    before, after = there.manifest, now.manifest
    code = [{"code": m["code"]["files"], "environment": m["packages"]} for m in (before, after)]
    both = before["devices"].keys() & after["devices"].keys()  # a phase has queries of its own
    places = [
        {"machine": m["machine"], "devices": {step: m["devices"][step] for step in both}} for m in (before, after)
    ]
    found = {
        "data": _data(there, now),
        "recipe": recipe_differences(before["recipe"], after["recipe"]),
        "code, packages": code_changes(*code),
        "machine": recipe_differences(*places),
    }
    place = {key: found[key] for key in ("code, packages", "machine")}
    train = {"data": [words for words in found["data"] if words.startswith("train")]}
    trained = {"recipe": [v for v in found["recipe"] if _of_weights(v)]}
    found["weights"] = _changed_part(there, now, "weights", train | trained | place)
    fitted = {"weights": ["others"] * bool(found["weights"])} | train | place
    fitted["recipe"] = [v for v in found["recipe"] if v.startswith(("members.", "seed:", "ensemble.", "extract."))]
    found["PCA"] = _changed_part(there, now, "ensemble", fitted)
    found["bank"] = _changed_part(there, now, "bank", fitted)
    fitted["recipe"] += [v for v in found["recipe"] if v.startswith("matching.")]
    further = sorted(there.further() | now.further())
    others = [f"{part}: {words}" for part in further for words in _changed_part(there, now, part, fitted)]
    return found | ({"fitted parts": others} if further else {})


def _of_weights(value: str) -> bool:
    """Return True if weights may depend on a recipe value; networks that see pairs are part of a branch."""
    pairs = value.startswith("matching.branches.") and ".networks." in value
    return pairs or (value.startswith(("members.", "seed:", "detector")) and ".weight:" not in value)


def _data(there: _Side, now: _Side) -> list[str]:
    """Image sets that differ, by id where their digests were kept."""
    found = []
    for name, other in zip(image_sets(there.case), image_sets(now.case), strict=True):
        before, after = there.manifest["images"].get(name, {}), now.manifest["images"].get(other, {})
        if name != other:
            found.append(f"{name} there, {other} now: the phases differ")
        elif "digest" in before and "digest" in after:
            if before["digest"] != after["digest"]:
                found.append(f"{name}: {_which(there, now, name)}")
        elif there.listing(name) != now.listing(name):
            found.append(f"{name}: other ids or contents; their bytes are not recorded on both sides")
    return found


def _which(there: _Side, now: _Side, name: str) -> str:
    kept = [kept_digests(side.case, name, side.manifest["images"][name]["digest"]) for side in (there, now)]
    if kept[0] is None or kept[1] is None:
        return "other images; no digests were kept that tell which"
    return str(changed(kept[0], kept[1]))


def _changed_part(there: _Side, now: _Side, part: str, causes: dict[str, list[str]]) -> list[str]:
    """Return how much of weights or of a fitted part differs, and why; an empty list where nothing does."""
    before, after = there.part(part), now.part(part)
    if before.get("sha256") == after.get("sha256"):
        return []
    old, new = (record.get("parts", {}) for record in (before, after))
    # The header of weights holds the recipe, whose values are told elsewhere.
    names = (old.keys() | new.keys()) - {"(header)"} if old and new else set()
    differing = [name for name in names if old.get(name) != new.get(name)]
    if names and not differing:
        return []
    extent = f"others, {len(differing)} of {len(names)} parts differ: " if differing else "others: "
    return [extent + _why(before, after, causes)]


def _why(before: Manifest, after: Manifest, causes: dict[str, list[str]]) -> str:
    sources = [record.get("receipt", {}).get("made_from", {}).get("checkpoint") for record in (before, after)]
    if sources[0] != sources[1]:
        words = (f"installed from checkpoint {digest[:12]}" if digest else "trained" for digest in sources)
        return " there, ".join(words) + " now"
    told = [f"{part} ({some(words, most=3)})" for part, words in causes.items() if words]
    return f"explained by {'; '.join(told)}" if told else "same data, recipe, code, packages and machine: not explained"


def _scores(there: _Side, now: _Side) -> list[str]:
    """uAP of both tracks, as scored when the manifests were written."""
    words = []
    before, after = (side.manifest["results"].get("score", {}) for side in (there, now))
    for track in sorted(before.keys() | after.keys()):
        values = [score.get(track, {}).get("average_precision") for score in (before, after)]
        figures = ["not scored" if value is None else f"{value:.5f}" for value in values]
        words.append(f"{track} uAP {figures[0]} there, {figures[1]} now")
    return words or ["not scored"]


def descriptor_distance(there: Path, now: Path) -> list[str]:
    """Compare two descriptor files: largest difference of a float and cosines, over the ids in common of each side.

    Raises:
        BadInput: one of them cannot be read.
    """
    if words := _same_or_lacking(there, now):
        return [words]
    with open_descriptors(there) as first, open_descriptors(now) as second:
        return [_vectors(a, b) for a, b in zip(first, second, strict=True)]


def match_distance(there: Path, now: Path) -> list[str]:
    """Compare two matches files: pairs in common and in one only, and the largest difference of a score.

    Raises:
        BadInput: one of them cannot be read.
    """
    if words := _same_or_lacking(there, now):
        return [words]
    first, second = read_matches(there), read_matches(now)
    queries = id_codes("Q", first.query_ids, second.query_ids)
    references = id_codes("R", first.reference_ids, second.reference_ids)
    span = 1 + max(int(codes.max(initial=0)) for codes in references)
    common, i, j = np.intersect1d(
        *(q * span + r for q, r in zip(queries, references, strict=True)), return_indices=True
    )
    words = f"{len(common):,} rows in common, {_only(len(first), len(second), len(common))}"
    if not len(common):
        return [words]
    gaps = np.abs(first.scores[i] - second.scores[j])
    k = int(gaps.argmax())
    pair = f"{first.query_ids[i[k]]},{first.reference_ids[i[k]]}"
    values = f"{first.scores[i[k]]} there, {second.scores[j[k]]} now"
    largest = f"largest score difference {gaps[k]:.3g} ({pair}: {values})" if gaps[k] else "their scores are the same"
    return [f"{words}; {largest}"]


def _same_or_lacking(there: Path, now: Path) -> str:
    if not there.is_file() or not now.is_file():
        return "only there" if there.is_file() else "only now" if now.is_file() else "no file"
    return IDENTICAL if file_digest(there) == file_digest(now) else ""


def _only(there: int, now: int, common: int) -> str:
    return f"{there - common:,} only there, {now - common:,} only now"


def _vectors(first: Embeddings, second: Embeddings) -> str:
    common, i, j = np.intersect1d(first.ids, second.ids, return_indices=True)
    dims = first.vectors.shape[1], second.vectors.shape[1]
    words = (
        f"{len(common):,} {SIDES[first.role]} vectors in common, {_only(len(first.ids), len(second.ids), len(common))}"
    )
    if dims[0] != dims[1]:
        return f"{words}; of {dims[0]} floats there, {dims[1]} now"
    if not len(common):
        return words
    blocks = [_block(first, second, i[k : k + _BLOCK], j[k : k + _BLOCK]) for k in range(0, len(common), _BLOCK)]
    gaps, cosines = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    if not gaps.any():
        return f"{words}; they are the same"
    far, low = int(gaps.argmax()), int(cosines.argmin())
    return (
        f"{words}; floats differ by at most {gaps[far]:.3g} ({common[far]}), "
        f"cosine at least {cosines[low]:.6f} ({common[low]}), {cosines.mean():.6f} on average"
    )


def _block(first: Embeddings, second: Embeddings, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest difference of a float and cosine, of each of some rows."""
    a, b = (_rows(side, rows).astype(np.float64) for side, rows in ((first, i), (second, j)))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    return np.abs(a - b).max(axis=1), cosines


def _rows(side: Embeddings, rows: np.ndarray) -> np.ndarray:
    """Rows of an HDF5 dataset, whose ids ascend as a rule: read in one piece, as single rows would be slow."""
    low = int(rows.min())
    return np.asarray(side.vectors[low : int(rows.max()) + 1])[rows - low]
