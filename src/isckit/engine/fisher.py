"""The fit of Fisher vectors on train images: one pass over them, then closed forms and a mixture by EM."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from tqdm import tqdm

from isckit import config
from isckit.data.datasets import Order, PreparedImages, together
from isckit.data.image_sets import ImageSet
from isckit.data.loaders import Loader
from isckit.engine.distributed import Process
from isckit.models.fisher import SIFT, FisherDescriber
from isckit.runs import made_from
from isckit.runs.artifacts import ids_digest, write_text
from isckit.runs.checkpoints import read_weights, write_weights
from isckit.runs.steps import Output, make
from isckit.runs.workspace import METRICS
from isckit.types import BadInput, RuleViolation
from isckit.views.geometry import VIEW_SETS

WEIGHTS = "fitted.safetensors"
PER_WORD = 1_000
"""Descriptors that the mixture looks at for each of its Gaussians."""
_ROUNDS, _FLOOR = 50, 1e-4
_BATCH = 32
_RANK_TOLERANCE = 1e-9


def fit_fisher(
    settings: config.Fisher, images: ImageSet, *, seed: int, folder: Path, process: Process, workers: int
) -> dict[str, torch.Tensor]:
    """Return tensors of a `FisherDescriber`; they are left in `folder` with a log of the images, and not fitted again.

    One process fits, the others read what it leaves.

    Raises:
        RuleViolation: the images are queries or references.
        BadInput: too few images or points for as many Gaussians and dimensions.
        StaleArtifact: `folder` holds a fit by other settings, or on other images.
    """
    if not images.role.may_be_fitted_on:
        raise RuleViolation(
            seen=f"a fit on the {images.role} images of {images.name}",
            allowed="train or external images",
            remedy="pass train images",
        )
    path = folder / WEIGHTS
    inputs = {
        "settings": made_from.words(config.to_dict(settings)),
        "seed": str(seed),
        "images": images.content_digest(),
    }

    def work() -> dict[str, Any]:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(images))[: settings.fit_images])
        start = time.perf_counter()
        weights = _fitted(settings, images.subset(chosen), seed=seed, workers=workers, device=process.device)
        folder.mkdir(parents=True, exist_ok=True)
        write_weights(path, weights, recipe="")
        ids = images.ids[chosen]
        record = {"augmented": False, "draws": len(ids), "images": len(ids), "ids": ids_digest(ids)}
        seconds = time.perf_counter() - start
        line: dict[str, Any] = {"epoch": 0, "stage": "fit", "consumed": {images.role.value: record}}
        line |= {"seconds": seconds, "images_per_second": len(ids) / seconds}
        write_text(folder / METRICS, json.dumps(line, sort_keys=True) + "\n")
        return {"fitted_on": images.role.value, "images": len(ids)}

    if process.first:
        make(Output(path, inputs), work)
    process.barrier()
    return read_weights(path)


def _fitted(
    settings: config.Fisher, images: ImageSet, *, seed: int, workers: int, device: torch.device
) -> dict[str, torch.Tensor]:
    describer = FisherDescriber(settings)
    prepared = _points(describer, images, workers=workers)
    descriptors = prepared[..., :SIFT][(prepared[..., :SIFT] > 0).any(-1)]
    if len(images) <= settings.dim or len(descriptors) < 2 * max(settings.words, settings.reduced):
        raise BadInput(
            seen=f"{len(images)} images, {len(descriptors)} points; dim {settings.dim}, {settings.words} Gaussians",
            allowed="more images than dimensions, and some points for each Gaussian",
            remedy=f"fit {settings.name} on more images, or set a smaller dim or words",
        )
    rng = np.random.default_rng([seed, 1])
    drawn = rng.permutation(len(descriptors))[: PER_WORD * settings.words]
    values = descriptors[torch.from_numpy(np.sort(drawn))].double().numpy() / 255
    mean = values.mean(0)
    variances, axes = _principal(np.cov(values, rowvar=False), settings.reduced)
    # Half whitened: the leading components would decide all posteriors, whole whitening would raise the noise.
    axes /= variances**0.25
    mixture = _mixture((values - mean) @ axes, words=settings.words, seed=seed)
    arrays = {
        "mean": mean,
        "axes": axes,
        "shares": mixture.weights_,
        "means": mixture.means_,
        "deviations": np.sqrt(mixture.covariances_),
    }
    for name, array in arrays.items():
        getattr(describer, name).copy_(torch.from_numpy(array))
    vectors = _vectors(describer.to(device), prepared).double().numpy()
    centre = vectors.mean(0)
    variances, components = _principal(np.cov(vectors, rowvar=False), settings.dim)
    describer.centre.copy_(torch.from_numpy(centre))
    describer.components.copy_(torch.from_numpy(components / (variances / variances[0]) ** settings.whiten))
    return {key: value.detach().cpu() for key, value in describer.state_dict().items()}


def _points(describer: FisherDescriber, images: ImageSet, *, workers: int) -> torch.Tensor:
    """Return (N, points, 132) uint8: what the describer prepares of every image that decodes."""
    dataset = PreparedImages(images, rows=np.arange(len(images)), orders=[Order(describer, VIEW_SETS["whole"])])
    batches = Loader(dataset, batch_size=_BATCH, workers=workers, collate_fn=together)
    bar = tqdm(batches, desc=f"points for {describer.settings.name}", unit="batch")
    return torch.cat([batch.whole[0] for batch in bar])


@torch.inference_mode()
def _vectors(describer: FisherDescriber, prepared: torch.Tensor) -> torch.Tensor:
    """Return (N, words * reduced) float32: Fisher vectors of the whole images."""
    device = describer.mean.device
    views = VIEW_SETS["whole"]
    parts = (part.to(device) for part in prepared.split(_BATCH))
    return torch.cat([describer.fisher_vectors(part, range(len(part)), views * len(part)).cpu() for part in parts])


def _mixture(values: np.ndarray, *, words: int, seed: int) -> GaussianMixture:
    mixture = GaussianMixture(
        words, covariance_type="diag", max_iter=_ROUNDS, init_params="k-means++", random_state=seed, reg_covar=_FLOOR
    )
    with warnings.catch_warnings():
        # The last rounds of EM move the likelihood in its fourth digit: what the vectors do not see.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(values)


def _principal(covariance: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (count,) variances, largest first, and (d, count) directions, the largest part of each positive.

    Raises:
        BadInput: fewer directions vary.
    """
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = variances[::-1][:count], directions[:, ::-1][:, :count]
    varying = int((variances > _RANK_TOLERANCE * max(variances[0], np.finfo(np.float32).tiny)).sum())
    if varying < count:
        raise BadInput(
            seen=f"values that vary in {varying} directions, to be reduced to {count}",
            allowed="at least as many directions",
            remedy="set a smaller dim or reduced, or fit on more images of different content",
        )
    largest = np.abs(directions).argmax(0)
    return variances, directions * np.sign(directions[largest, np.arange(count)])
