"""Parts of `compatibility`: self-distillation without labels (DINO, Caron et al., ICCV 2021), and restoration."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torchvision.transforms.v2.functional import resize

from isckit import config
from isckit.losses.objective import gathered
from isckit.models.network import EmbeddingNetwork


class SelfDistillation(nn.Module):
    """Cross-entropy from the teacher's shares of prototypes on the weak view to the student's on the hard views.

    Prototypes are unit vectors in the space of the embeddings, so logits are cosines. The teacher's logits are centred
    by their running mean and sharpened, which together keep both from collapse. The teacher stays in evaluation mode:
    what it says of an image does not depend on the batch.
    """

    prototypes_of_teacher: torch.Tensor
    centre: torch.Tensor

    def __init__(self, settings: config.Compatibility, network: EmbeddingNetwork) -> None:
        super().__init__()
        self.settings = settings
        self.teacher = copy.deepcopy(network).requires_grad_(False).eval()
        self.prototypes = nn.Parameter(F.normalize(torch.randn(settings.prototypes, network.dim), dim=-1))
        self.register_buffer("prototypes_of_teacher", self.prototypes.detach().clone())
        self.register_buffer("centre", torch.zeros(settings.prototypes))

    def train(self, mode: bool = True) -> SelfDistillation:
        """Set the mode, but leave the teacher in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, embeddings: torch.Tensor, taught: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy over the hard views; move the centre by the global batch.

        Args:
            embeddings: (n, d) unit rows, the student's of the hard views.
            taught: (a, d) unit rows, the teacher's of the weak views.
            anchors: (n,) int64, the anchor of each hard view.
        """
        with torch.no_grad():
            logits = F.linear(taught, F.normalize(self.prototypes_of_teacher, dim=-1))
            wanted = ((logits - self.centre) / self.settings.teacher_temperature).softmax(-1)
            mean = gathered(logits.mean(0, keepdim=True)).mean(0)
            self.centre.lerp_(mean, 1 - self.settings.centre_momentum)
        given = F.linear(embeddings, F.normalize(self.prototypes, dim=-1)) / self.settings.student_temperature
        return F.cross_entropy(given, wanted[anchors])

    @torch.no_grad()
    def after_step(self, network: nn.Module, *, progress: float) -> None:
        """Move the teacher towards the network; the momentum rises to 1 by a cosine over the stage."""
        momentum = 1 - (1 - self.settings.teacher_momentum) * (1 + math.cos(math.pi * progress)) / 2
        old = [*self.teacher.parameters(), self.prototypes_of_teacher]
        new = [*network.parameters(), self.prototypes]
        assert len(old) == len(new)
        get_ema_multi_avg_fn(momentum)(old, new, 0)
        # Batch statistics are running means already.
        for mine, theirs in zip(self.teacher.buffers(), network.buffers(), strict=True):
            mine.copy_(theirs)


WIDTHS = (128, 64, 32)


class Restoration(nn.Module):
    """Decoder and its loss: L1 to the small plain image, each view weighted.

    Three convolutions, before each of which the map grows (nearest neighbour, whose gradient is deterministic on every
    device) to a quarter, a half and the whole of `size`; then colours in [0, 1].
    """

    def __init__(self, channels: int, *, size: int) -> None:
        super().__init__()
        self.sizes = [max(1, size // 4), max(1, size // 2), size]
        self.enter = nn.Conv2d(channels, WIDTHS[0], 1)
        widths = zip(WIDTHS, (*WIDTHS[1:], WIDTHS[-1]), strict=True)
        self.convolutions = nn.ModuleList(nn.Conv2d(wide, narrow, 3, padding=1) for wide, narrow in widths)
        self.colours = nn.Conv2d(WIDTHS[-1], 3, 1)

    def decode(self, features: torch.Tensor) -> torch.Tensor:
        """Return (n, 3, size, size) in [0, 1] of features (n, C, h, w)."""
        x = F.relu(self.enter(features.float()))
        for size, convolution in zip(self.sizes, self.convolutions, strict=True):
            x = F.relu(convolution(F.interpolate(x, size=(size, size), mode="nearest-exact")))
        return self.colours(x).sigmoid()

    def forward(self, features: torch.Tensor, plain: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Return the mean over the views of weight times mean absolute error.

        The sum is divided by the number of views, not by the sum of weights: a batch of hidden images counts less.

        Args:
            features: (n, C, h, w) of the edited views.
            plain: (n, 3, S, S) uint8, the image that each was made from.
            weights: (n,) in [0, 1].
        """
        target = resize(plain.float(), [self.sizes[-1]] * 2, antialias=True) / 255
        return ((self.decode(features) - target).abs().mean((1, 2, 3)) * weights).mean()
