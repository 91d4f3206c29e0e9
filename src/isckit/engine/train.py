"""Training of one network member: the loop on one screen; resumes at any epoch with the same result."""

from __future__ import annotations

import functools
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from tqdm import tqdm

from isckit import config
from isckit.augment.pipelines import find, view_rng
from isckit.data.datasets import TrainPairs, worker_init
from isckit.data.image_sets import ImageSet
from isckit.data.witness import Witness
from isckit.engine.distributed import Place, deterministic, has_bf16
from isckit.losses.cross_batch import CrossBatchLoss
from isckit.models.network import EmbeddingNetwork
from isckit.storage.artifacts import ids_digest, write_text
from isckit.storage.checkpoints import read_state, write_state
from isckit.types import BadInput, StaleArtifact

STATE, METRICS = "last.pt", "metrics.jsonl"


def train(
    settings: config.Network,
    images: ImageSet,
    *,
    seed: int,
    folder: Path,
    place: Place,
    workers: int,
    witness: Path | None = None,
) -> dict[str, torch.Tensor]:
    """Train a network on augmented pairs of train images and return its weights.

    The state after every epoch lies in `folder`; a run that was killed goes on from there and ends in the same bytes.
    Every item that the loader yields is written down in the file `witness`, where one is given.

    Raises:
        RuleViolation: `images` are queries or references.
        StaleArtifact: `folder` holds the state of another recipe or of other images.
    """
    assert settings.train is not None
    plan = settings.train
    if len(images) < 2 or plan.batch_images < 2:
        raise BadInput(
            seen=f"{len(images)} train images, batches of {plan.batch_images}",
            allowed="at least two of both",
            remedy="train on more images",
        )
    deterministic(seed)
    network = EmbeddingNetwork(settings).to(place.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loss = CrossBatchLoss(plan.loss, dim=settings.dim, batch_rows=2 * plan.batch_images).to(place.device)
    optimiser = _optimiser(network, plan.optim)
    made_from = {
        "settings": json.dumps(config.to_dict(settings), sort_keys=True),
        "seed": seed,
        "images": images.listing_digest(),
    }
    done, lines = _resume(folder, made_from, network, loss, optimiser)
    model: nn.Module = network
    if place.world > 1:
        if place.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        model = DistributedDataParallel(model)
    per_epoch = plan.images_per_epoch or max(len(images), plan.batch_images)
    for epoch in range(done, plan.epochs):
        torch.manual_seed(seed * 1_000_003 + epoch)
        seen_by = Witness(witness, epoch) if witness else None
        loader = _loader(
            settings, images, seed=seed, epoch=epoch, count=per_epoch, place=place, workers=workers, witness=seen_by
        )
        record: dict[str, Any] = _epoch(model, loss, optimiser, loader, plan, epoch=epoch, place=place)
        record["consumed"] = _consumed(images, epoch_rows(per_epoch, images=len(images), seed=seed, epoch=epoch))
        if place.first:
            lines.append(json.dumps({"epoch": epoch, **record}, sort_keys=True))
            write_state(
                folder / STATE,
                {
                    "made_from": made_from,
                    "epoch": epoch + 1,
                    "network": network.state_dict(),
                    "loss": loss.state(),
                    "optimiser": optimiser.state_dict(),
                    "lines": lines,
                },
            )
            write_text(folder / METRICS, "\n".join(lines) + "\n")
        place.barrier()
    return network.state_dict()


def _consumed(images: ImageSet, rows: np.ndarray) -> dict[str, Any]:
    """The images drawn in an epoch, by role, for the referee; overlay partners come from the same set."""
    drawn = np.unique(rows)
    digest = ids_digest(images.ids[drawn])
    return {images.role.value: {"augmented": True, "draws": len(rows), "images": len(drawn), "ids": digest}}


def _epoch(
    model: nn.Module,
    loss: CrossBatchLoss,
    optimiser: torch.optim.Optimizer,
    loader: DataLoader,
    plan: config.Train,
    *,
    epoch: int,
    place: Place,
) -> dict[str, float]:
    model.train()
    amp = plan.amp and has_bf16(place.device)
    totals: dict[str, float] = {"loss": 0.0, "positive": 0.0, "negative": 0.0}
    started, seen = time.perf_counter(), 0
    bar = tqdm(loader, desc=f"train epoch {epoch + 1}/{plan.epochs}", unit="batch", disable=not place.first)
    for step, (views, labels) in enumerate(bar):
        for group in optimiser.param_groups:
            group["lr"] = plan.optim.lr * lr_factor(plan, epoch + step / len(loader))
        pixels = views.transpose(0, 1).flatten(0, 1).to(place.device, non_blocking=True)
        labels = labels.to(place.device, non_blocking=True)
        with torch.autocast(place.device.type, torch.bfloat16, enabled=amp):
            embeddings = model(pixels)
        value = loss(embeddings, labels.repeat(2))
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        if plan.optim.clip:
            nn.utils.clip_grad_norm_(model.parameters(), plan.optim.clip)
        optimiser.step()
        seen += len(pixels) * place.world
        for key, number in _statistics(value.detach(), embeddings.detach()).items():
            totals[key] += number / len(loader)
        bar.set_postfix({"loss": f"{value.item():.3f}", "img/s": f"{seen / (time.perf_counter() - started):.0f}"})
    _refuse_collapse(totals, epoch)
    seconds = time.perf_counter() - started
    return totals | {"seconds": seconds, "images_per_second": seen / seconds, "bf16": amp}


def _statistics(value: torch.Tensor, embeddings: torch.Tensor) -> dict[str, float]:
    """Loss, mean cosine of the two views of an image, mean cosine of different images: what shows a collapse."""
    first, second = embeddings.chunk(2)
    cosines = first @ second.T
    positive = cosines.diagonal().mean()
    negative = (cosines.sum() - cosines.diagonal().sum()) / max(1, cosines.numel() - len(first))
    return {"loss": float(value), "positive": float(positive), "negative": float(negative)}


def _refuse_collapse(totals: dict[str, float], epoch: int) -> None:
    if not math.isfinite(totals["loss"]):
        raise BadInput(
            seen=f"loss {totals['loss']} in epoch {epoch + 1}",
            allowed="a finite loss",
            remedy="lower train.optim.lr, or set train.optim.clip=1; the last good epoch is kept",
        )


def lr_factor(plan: config.Train, epoch: float) -> float:
    """Learning-rate factor at a fractional epoch: linear warm-up, then the schedule over the rest."""
    warmup = min(plan.optim.warmup_epochs, plan.epochs)
    if epoch < warmup:
        return (epoch + 0.01) / (warmup + 0.01)
    progress = (epoch - warmup) / max(1e-9, plan.epochs - warmup)
    factors = {"constant": 1.0, "linear": 1 - progress, "cosine": 0.5 * (1 + math.cos(math.pi * progress))}
    return factors[plan.optim.schedule]


def epoch_rows(count: int, *, images: int, seed: int, epoch: int) -> np.ndarray:
    """Rows of the train images drawn in an epoch: the next `count` of an endless series of permutations."""
    first, last = epoch * count, (epoch + 1) * count
    rounds = range(first // images, (last - 1) // images + 1)
    series = np.concatenate([np.random.default_rng([seed, 77, r]).permutation(images) for r in rounds])
    return series[first - rounds.start * images : last - rounds.start * images]


def _loader(
    settings: config.Network,
    images: ImageSet,
    *,
    seed: int,
    epoch: int,
    count: int,
    place: Place,
    workers: int,
    witness: Witness | None,
) -> DataLoader:
    assert settings.train is not None
    plan = settings.train
    local = place.share(plan.batch_images, "train.batch_images")
    rows = epoch_rows(count, images=len(images), seed=seed, epoch=epoch)
    rows = rows[: max(1, len(rows) // plan.batch_images) * plan.batch_images]
    # Every process takes its part of each global batch, so the global batch does not depend on their number.
    positions = np.arange(len(rows)).reshape(-1, place.world, min(local, len(rows)))[:, place.rank].ravel()
    pairs = TrainPairs(
        images,
        rows=rows,
        views=[find(plan.augment.weak), find(plan.augment.strong)],
        size=settings.image_size,
        rng=functools.partial(view_rng, seed, epoch),
        witness=witness,
    )
    return DataLoader(
        pairs,
        batch_size=local,
        sampler=positions.tolist(),
        num_workers=workers,
        worker_init_fn=worker_init,
        pin_memory=place.device.type == "cuda",
        drop_last=True,
    )


def _optimiser(network: nn.Module, settings: config.Optim) -> torch.optim.Optimizer:
    """No weight decay on biases, norms and other one-dimensional parameters."""
    matrices = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if settings.name == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum)
    return torch.optim.AdamW(groups, lr=settings.lr)


def _resume(
    folder: Path, made_from: dict[str, Any], network: nn.Module, loss: CrossBatchLoss, optimiser: torch.optim.Optimizer
) -> tuple[int, list[str]]:
    """Take up the state in `folder`, if there is one: (epochs done, metrics lines)."""
    if not (folder / STATE).is_file():
        return 0, []
    state = read_state(folder / STATE)
    changed = [key for key, value in made_from.items() if state["made_from"].get(key) != value]
    if changed:
        raise StaleArtifact(
            seen=f"{folder / STATE} is the state of a training with other {', '.join(changed)}",
            allowed="the state of the same recipe on the same images",
            remedy=f"choose another --name, or remove {folder}",
        )
    network.load_state_dict(state["network"])
    loss.load(state["loss"])
    optimiser.load_state_dict(state["optimiser"])
    return state["epoch"], state["lines"]
