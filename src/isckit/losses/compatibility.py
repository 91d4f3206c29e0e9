"""Compatibility with a frozen anchor network, self-distillation and restoration: the three tasks of titanshield2.

The published facts end with the names of these tasks: the team that led the ISC2021 Descriptor leaderboard gave neither
paper nor code. Everything here is this kit's own design.
"""

from __future__ import annotations

import torch
from torch import nn

from isckit import config
from isckit.losses.distillation import Restoration, SelfDistillation
from isckit.losses.memory import Memory
from isckit.losses.objective import Batch, Objective, Parts, exact, processes
from isckit.models.heads import Outputs
from isckit.models.network import EmbeddingNetwork
from isckit.types import BadInput
from isckit.views.geometry import VIEW_SETS


class CompatibilityObjective(Objective):
    """Embeddings that can be compared with another network's.

    A target is what the frozen anchor gives for the plain image, described as in extraction.
    compatibility: 1 - cosine of the weak view to its target, plus InfoNCE of the hard views among remembered targets.
    distillation: see SelfDistillation. restoration: see Restoration; a hard view has to restore the plain image as far
    as it resembles its target (cosine, at least 0, no gradient). No record says how much an edit left visible, so a
    view that hides its image counts little, and at the start, when nothing is recognised yet, none counts.

    Every term belongs to one image and targets have no gradient, so each process takes the mean over its own part;
    memory and centre are those of the global batch. A part of weight 0 is left out; negatives beside the anchors are
    not used. The anchor is not in the state; it must be on the device of the batches.
    """

    wants_plain = True

    def __init__(self, settings: config.Compatibility, network: EmbeddingNetwork, *, anchor: nn.Module) -> None:
        """Build the parts around the network, from which the teacher is copied.

        Raises:
            BadInput: network and anchor have different dimensions.
        """
        super().__init__()
        if network.dim != anchor.dim:
            raise BadInput(
                seen=f"a network of {network.dim} dimensions with an anchor {settings.anchor!r} of {anchor.dim}",
                allowed="equal dimensions, as both embed into one space",
                remedy="give both members of the recipe the same dim",
            )
        self.settings = settings
        # A tuple hides it from torch: neither parameters() nor state_dict() has it.
        self._anchor = (anchor.requires_grad_(False).eval(),)
        self.memory = Memory(settings.memory, dim=network.dim, batch_rows=1)
        self.distillation = SelfDistillation(settings, network) if settings.distillation else None
        self.restoration = None
        if settings.restoration:
            self.restoration = Restoration(network.pooled_dim, size=settings.restored_size)

    @exact
    def forward(self, outputs: Outputs, batch: Batch) -> Parts:
        """Return the weighted sum "loss", its parts, and "agreement", the mean cosine of weak views to their targets.

        Raises:
            BadInput: mixed images, no hard view, or more anchors than the memory holds.
        """
        plain, weak, hard = self._roles(batch)
        anchors = ((batch.views == 0).cumsum(0) - 1)[hard]
        targets, taught = self._frozen(plain, batch.pixels[weak], like=outputs.features)
        embeddings, wanted = outputs.embedding[hard].float(), targets[anchors]
        agreement = (outputs.embedding[weak].float() * targets).sum(-1).mean()
        _, others = self.memory.push(targets, batch.labels[weak])
        parts = {"compatibility": 1 - agreement + self._infonce(embeddings, wanted, others[anchors])}
        loss = parts["compatibility"]
        if self.distillation is not None:
            parts["distillation"] = self.distillation(embeddings, taught, anchors)
            loss = loss + self.settings.distillation * parts["distillation"]
        if self.restoration is not None:
            resemblance = (embeddings * wanted).sum(-1).detach().clamp(min=0)
            parts["restoration"] = self.restoration(outputs.features[hard], plain[anchors], resemblance)
            loss = loss + self.settings.restoration * parts["restoration"]
        return {"loss": loss, **parts, "agreement": agreement.detach()}

    def _infonce(self, embeddings: torch.Tensor, targets: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of each row's target among it and the remembered ones marked in `others`."""
        own = (embeddings * targets).sum(-1, keepdim=True)
        rest = (embeddings @ self.memory.embedding.T).masked_fill(~others, -torch.inf)
        logits = torch.cat([own, rest], dim=1) / self.settings.temperature
        return (logits.logsumexp(1) - logits[:, 0]).mean()

    def after_step(self, network: nn.Module, *, progress: float) -> None:
        """Move the teacher."""
        if self.distillation is not None:
            self.distillation.after_step(network, progress=progress)

    def _roles(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the plain images, and the rows of the weak and of the hard views."""
        weak, hard = (batch.views == 0).nonzero().squeeze(1), (batch.views > 0).nonzero().squeeze(1)
        if batch.weights is not None or not len(hard):
            raise BadInput(
                seen="mixed images" if batch.weights is not None else "anchors in one view each",
                allowed="for the loss 'compatibility' unmixed images, each in a weak and at least one hard view",
                remedy="leave out the stage's mix, and name two or more pipelines in its views",
            )
        if len(weak) * processes()[1] > self.settings.memory:
            raise BadInput(
                seen=f"loss.memory {self.settings.memory} with {len(weak) * processes()[1]} anchors a batch",
                allowed="a memory of at least one whole batch, one target an anchor",
                remedy="raise the stage's loss.memory, or lower its batch_images",
            )
        assert batch.plain is not None and len(batch.plain) == len(weak)
        return batch.plain, weak, hard

    @torch.no_grad()
    def _frozen(
        self, plain: torch.Tensor, weak: torch.Tensor, *, like: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return targets of the plain images and the teacher's of the weak views, in the student's precision."""
        with torch.autocast(like.device.type, like.dtype, enabled=like.dtype != torch.float32):
            targets = _described(self._anchor[0], plain)
            taught = self.distillation.teacher(weak) if self.distillation is not None else None
        return targets, taught


@torch.no_grad()
def agreement(student: nn.Module, anchor: nn.Module, images: torch.Tensor) -> float:
    """Return the mean cosine of two networks' vectors of the same (n, 3, H, W) uint8 images, both as in extraction.

    Above 0.95 on train images that were held out, descriptors of one can be searched among the other's.
    """
    modes = student.training, anchor.training
    cosines = (_described(student.eval(), images) * _described(anchor.eval(), images)).sum(-1)
    student.train(modes[0])
    anchor.train(modes[1])
    return float(cosines.mean())


def _described(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return network.embed(images, VIEW_SETS["whole"])[:, 0].float()  # type: ignore[operator]
