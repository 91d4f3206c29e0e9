"""Whether a pair network tells copies from look-alikes, on groups of train images that it was not trained on."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch

from isckit import config
from isckit.augment.pipelines import find, view_rng
from isckit.data.groups import GroupItems, LookAlikes, groups_of
from isckit.data.image_sets import ImageSet
from isckit.engine.distributed import Place
from isckit.engine.extract import Describer
from isckit.models.pair import PairClassifier
from isckit.views.geometry import view_set


@dataclass(frozen=True)
class HeldOut:
    """Scores of the pairs of all groups, by two judges.

    Attributes:
        copies: (p,) bool, whether query and reference are made from one image.
        network: (p,) float32, logits of the pair network.
        cosine: (p,) float32, cosines of a member's descriptors of the same pixels.
    """

    copies: np.ndarray
    network: np.ndarray
    cosine: np.ndarray

    def precision(self) -> dict[str, float]:
        """Average precision over all pairs, by judge."""
        from sklearn.metrics import average_precision_score

        return {
            name: float(average_precision_score(self.copies, getattr(self, name))) for name in ("network", "cosine")
        }


@torch.inference_mode()
def held_out(
    network: PairClassifier,
    member: Describer,
    images: ImageSet,
    look_alikes: LookAlikes,
    stage: config.PairStage,
    *,
    seed: int,
    place: Place,
) -> HeldOut:
    """Score all pairs of the groups of a stage, as in training, by the network and by a member's descriptors.

    Args:
        network, member: in evaluation mode, on the device.
        images: train images that neither was trained on.
        look_alikes: of these images.
        stage: groups, their size, and the views.
        seed: of the edits.
        place: of this process.
    """
    items = GroupItems(
        images,
        groups_of(stage, images, look_alikes),
        stage=stage,
        plain=find(stage.plain),
        view=find(stage.view),
        size=network.settings.image_size,
        rng=functools.partial(view_rng, seed, 0),
    )
    labels = np.eye(stage.group, dtype=bool).ravel()
    logits, cosines = [], []
    for number in range(len(items)):
        references, queries, _ = (part.to(place.device) for part in items[number])
        described = [network.describe(side) for side in (references, queries)]
        first, second = torch.cartesian_prod(*[torch.arange(stage.group)] * 2).T.to(place.device)
        logits.append(network.compare(described[0][first], described[1][second]).cpu().numpy())
        left, right = (member.embed(side, view_set(()))[:, 0] for side in (references, queries))
        cosines.append((left @ right.T).float().cpu().numpy().ravel())
    return HeldOut(np.tile(labels, len(items)), np.concatenate(logits), np.concatenate(cosines))
