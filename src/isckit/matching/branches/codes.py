"""The torch half of the ASMK branch: images to binary codes of visual words, in shards, resumable."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from isckit import config
from isckit.data.image_sets import ImageSet
from isckit.data.images import stop_message
from isckit.engine.distributed import Process
from isckit.engine.local_features import describe_locally, nearest_words
from isckit.engine.shards import write_in_shards
from isckit.matching.asmk import PER_WORD, aggregate, gathered
from isckit.matching.codes import write_codes
from isckit.matching.inputs import substitute_made_from, substitute_of
from isckit.models.members import load
from isckit.models.network import EmbeddingNetwork
from isckit.runs import made_from
from isckit.runs.arrays import write_arrays
from isckit.runs.artifacts import file_digest, ids_digest
from isckit.runs.checkpoints import read_weights
from isckit.runs.run import Run
from isckit.runs.steps import Advance, Output, Writer, make
from isckit.types import BadInput, Role


def _member(run: Run, branch: config.Asmk, process: Process) -> tuple[config.Member, EmbeddingNetwork]:
    """Return the branch's network with its weights.

    Raises:
        BadInput: no member of that name, or one without local features.
    """
    names = [member.name for member in run.recipe.members]
    at = names.index(branch.member) if branch.member in names else -1
    settings = run.recipe.members[at]
    if at < 0 or not isinstance(settings, config.Network) or settings.pooling != "attention":
        raise BadInput(
            seen=f"branch {branch.name} takes local features of member {branch.member!r}",
            allowed="a network of the recipe with pooling=attention",
            remedy=f"correct matching.branches.{branch.name}.member; members are {', '.join(names)}",
        )
    network = load(run.recipe, read_weights(run.weights), device=process.device)[at]
    assert isinstance(network, EmbeddingNetwork)
    return settings, network


class Coder:
    """One image set and the network that describes it.

    Raises:
        BadInput: the branch's member is no network with local features.
    """

    def __init__(self, run: Run, images: ImageSet, branch: config.Asmk, process: Process, workers: int) -> None:
        self.run, self.images, self.branch, self.process, self.workers = run, images, branch, process, workers
        settings, self.network = _member(run, branch, process)
        self.substitute = substitute_of(run, images)
        self.made_from = made_from.local_features(
            member=config.to_dict(settings),
            weights=file_digest(run.weights),
            images=images.content_digest(),
            longest=branch.longest,
            features=branch.features,
            on_broken=run.recipe.extract.on_broken,
        )

    def sample(self) -> None:
        """Write the features for the codebook: of some images, drawn by the recipe's seed, at scale 1."""
        branch, run = self.branch, self.run
        path = run.described.feature_sample(run.name, self.images.name, branch.name)
        inputs = self.made_from | {"fit_images": branch.fit_images, "words": branch.words}
        make(Output(path, inputs), lambda: self._sample(path))

    def write(self, words: np.ndarray) -> None:
        """Write the codes in terms of visual words (words, d), in shards."""
        branch, run = self.branch, self.run
        inputs = self.made_from | substitute_made_from(run, self.images)
        inputs |= {
            "codebook": file_digest(run.workspace.codebook(run.name, branch.name)),
            "scales": list(branch.scales),
            "words": self._assigned,
        }
        table = torch.from_numpy(words).to(self.process.device)
        outputs = [Output(run.described.codes(run.name, self.images.name, branch.name), inputs, ".npz")]
        look = functools.partial(self._look, table)
        write_in_shards(self.images, outputs, look, title="codes", settings=run.recipe.extract, process=self.process)

    @property
    def _assigned(self) -> int:
        """Words of a feature."""
        return self.branch.query_words if self.images.role is Role.QUERY else 1

    def _sample(self, path: Path) -> dict[str, Any]:
        branch, seed, images = self.branch, self.run.recipe.seed, self.images
        rows = np.sort(np.random.default_rng(seed).permutation(len(images))[: branch.fit_images])
        # No more of an image than k-means looks at: all features of 20,000 large pictures are too much to hold.
        most = math.ceil(PER_WORD * branch.words / len(rows))
        kept, broken = [], {}
        for row, features, reason in tqdm(
            self._described(rows, (1.0,)), f"sample {branch.name}", len(rows), unit="img"
        ):
            if reason:
                broken[str(images.ids[row])] = reason
                continue
            drawn = np.random.default_rng([seed, row]).permutation(len(features))[:most]
            kept.append(features.cpu().numpy()[np.sort(drawn)])
        if broken and self.run.recipe.extract.on_broken == "stop":
            raise stop_message(broken)
        write_arrays(path, {"features": np.concatenate(kept)})
        return {
            "complete": True,
            "images": len(rows),
            "ids": ids_digest(images.ids[rows]),
            "role": images.role.value,
            "replaced": dict(sorted(broken.items())),
            "device": str(self.process.device),
            "threads": torch.get_num_threads(),
        }

    def _look(self, words: torch.Tensor, rows: np.ndarray, advance: Advance) -> tuple[list[Writer], dict[str, str]]:
        parts, reasons = self._encoded(rows, words, advance)
        codes = gathered(self.images.role, self.images.ids[rows], parts, bits=words.shape[1])
        return [lambda path: write_codes(path, codes)], reasons

    def _encoded(
        self, rows: np.ndarray, words: torch.Tensor, advance: Advance
    ) -> tuple[list[tuple[np.ndarray, np.ndarray]], dict[str, str]]:
        """Return the words and codes of each image, and the broken images with their reasons."""
        table, parts, broken = words.cpu().numpy(), [], {}
        for row, features, reason in self._described(rows, self.branch.scales):
            features = features[:0] if reason else features  # grey would match grey
            assigned = nearest_words(features, words, k=self._assigned)
            parts.append(aggregate(features.cpu().numpy(), assigned, table))
            if reason:
                broken[str(self.images.ids[row])] = reason
            advance(1)
        return parts, broken

    def _described(self, rows: np.ndarray, scales: tuple[float, ...]) -> Any:
        return describe_locally(
            self.network,
            self.images,
            rows=rows,
            scales=scales,
            longest=self.branch.longest,
            count=self.branch.features,
            process=self.process,
            workers=self.workers,
            substitute=self.substitute,
        )
