"""Any folder of images as one file of vectors, by a fitted run or by bare weights."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.data.images import stop_message
from isckit.runs import made_from
from isckit.runs.artifacts import atomic, file_digest, is_fresh, read_receipt, reserve, weights_digest, write_receipt
from isckit.runs.run import Run, planned
from isckit.runs.steps import scratch
from isckit.runs.workspace import Workspace
from isckit.types import WHOLE, BadInput, Embeddings
from isckit.vectors.described import bank, combined, ensembled, substituted_from
from isckit.vectors.normalise import fit_normaliser, normalise

if TYPE_CHECKING:
    from isckit.engine.distributed import Process

log = logging.getLogger(__name__)

SET = "images"
"""The name of the folder in the cache."""


def describe_by_run(
    run: Run, images: ImageSet, out: Path, *, normalised: bool, process: Process, workers: int
) -> dict[str, Any]:
    """Write the run's descriptors of whole images: all members, the ensemble, unit length.

    Args:
        run: trained and fitted.
        images: queries or references, which a recipe may treat differently.
        out: .h5 or .npz, see `writer_of`.
        normalised: apply the recipe's normalisation of their role too.

    Returns:
        The receipt's facts: images in the file, dim, and "replaced": images that do not decode, which are left out.

    Raises:
        MissingInput: the run was not fitted.
        BadInput: another suffix; broken images under the policy "stop", or none that decodes.
        StaleArtifact: there is an `out` that was made from something else.
    """
    background = bank(run)
    parts = {"weights": run.weights, "ensemble": run.workspace.ensemble(run.name), "bank": run.workspace.bank(run.name)}
    inputs = made_from.vectors(
        recipe=config.digest(run.recipe),
        parts={part: file_digest(path) for part, path in parts.items()},
        images=images.content_digest(),
        role=images.role.value,
    )
    inputs |= {"normalised": normalised} | substituted_from(run.recipe.substitution, images.role)

    def blocks(here: Run) -> Iterator[Embeddings]:
        vectors = ensembled(here, SET)
        yield normalise(vectors, fit_normaliser(background, run.recipe.normalise)) if normalised else vectors

    return _describe(lambda scratch: replace(run, cache=scratch), images, out, blocks, inputs, process, workers)


def describe_by_weights(
    recipe: config.Recipe, checkpoint: Path, images: ImageSet, out: Path, *, process: Process, workers: int
) -> dict[str, Any]:
    """Write the unit vectors of all members of a weight file side by side, without ensemble or normalisation.

    Arguments, result and errors as of `describe_by_run`; weights that do not fit the recipe raise BadInput.
    """
    from isckit.tracks.train import install

    inputs = made_from.vectors(
        recipe=config.digest(recipe),
        parts={"weights": weights_digest(checkpoint)},
        images=images.content_digest(),
        role=images.role.value,
    )

    def installed(scratch: Workspace) -> Run:
        run = planned(scratch, "weights", recipe)
        install(run, checkpoint, process=process)
        process.barrier()
        return run

    def blocks(here: Run) -> Iterator[Embeddings]:
        return combined(here, SET, weights=[1.0] * len(recipe.members))

    return _describe(installed, images, out, blocks, inputs, process, workers)


def _describe(
    run_in: Callable[[Workspace], Run],
    images: ImageSet,
    out: Path,
    blocks: Callable[[Run], Iterator[Embeddings]],
    inputs: Mapping[str, Any],
    process: Process,
    workers: int,
) -> dict[str, Any]:
    """Extract into a cache beside `out`, from which an interrupted command goes on; write; remove the cache.

    What a command with other settings or images left there is passed over, by its name.
    """
    from isckit.tracks.extraction import extract_set

    write = writer_of(out)
    if is_fresh(out, inputs):
        log.info("already written: %s", out)
        return read_receipt(out)["facts"]
    with scratch(out.with_name(f"{out.name}.cache"), inputs, first=process.first) as cache:
        here = run_in(cache)
        here = replace(here, recipe=here.recipe.whole_only)
        extract_set(here, replace(images, name=SET), process=process, workers=workers)
        extracted = read_receipt(here.folder(SET, here.recipe.members[0].name))["facts"]
        broken = extracted["replaced"]
        if len(broken) == len(images):
            raise stop_message(broken, otherwise="name a folder with images that do")
        facts = {"images": len(images) - len(broken), "replaced": broken, "cost": extracted["cost"]}
        if process.first:
            origin = {key: str(value) for key, value in inputs.items()}
            facts["dim"] = write(out, blocks(here), facts["images"], origin)
            write_receipt(out, made_from=inputs, facts=facts)
    return facts


FileWriter = Callable[[Path, Iterator[Embeddings], int, Mapping[str, str]], int]


def writer_of(out: Path) -> FileWriter:
    """Return how a file of this suffix is written; all hold `vectors` (n, d) float32 and `ids`.

    .h5 and .hdf5: a file of embeddings of the kit, contiguous, ids as fixed UTF-8 bytes, the rest as attributes;
    written block by block. .npz: ids as numpy text, the rest as arrays without dimension; made in memory.

    Raises:
        BadInput: another suffix.
    """
    writers: dict[str, FileWriter] = {".h5": _write_hdf5, ".hdf5": _write_hdf5, ".npz": _write_npz}
    if out.suffix not in writers:
        raise BadInput(seen=f"--out {out}", allowed=f"a name that ends in {', '.join(writers)}", remedy="rename it")
    return writers[out.suffix]


def _write_hdf5(path: Path, blocks: Iterator[Embeddings], count: int, attributes: Mapping[str, str]) -> int:
    first = next(blocks)
    dim, role = first.vectors.shape[1], first.role
    width = 4 * first.ids.itemsize  # UTF-8 takes at most as many bytes as numpy's text
    with atomic(path) as temporary:
        reserve(temporary, count * (4 * dim + width))
        with h5py.File(temporary, "w") as file:
            vectors = file.create_dataset("vectors", shape=(count, dim), dtype="<f4")
            ids, start = [], 0
            for block in (first, *blocks):
                vectors[start : start + len(block.ids)] = block.vectors
                ids.append(block.ids)
                start += len(block.ids)
            assert start == count, (start, count)
            file["ids"] = np.strings.encode(np.concatenate(ids), "utf-8")
            file["views"] = np.zeros(count, np.int16)
            file.attrs["view_names"] = np.array((WHOLE,), dtype=h5py.string_dtype())
            file.attrs.update(dict(attributes) | {"role": role.value})
    return dim


def _write_npz(path: Path, blocks: Iterator[Embeddings], count: int, attributes: Mapping[str, str]) -> int:
    joined = Embeddings.joined(list(blocks))
    assert len(joined.ids) == count, (len(joined.ids), count)
    rest = {key: np.array(value) for key, value in attributes.items()}
    with atomic(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, allow_pickle=False, vectors=joined.vectors, ids=joined.ids, **rest)
    return joined.vectors.shape[1]
