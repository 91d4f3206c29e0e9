"""A loss of one's own: pull copies of an image together, push the nearest other image away, by at least a margin.

In the package it is a file in `src/isckit/losses`, its settings in `src/isckit/config/training.py`, and a line in
`src/isckit/losses/build.py`. The contract is that of `losses/objective.py`: outputs of a network and a batch to parts.

    python examples/own_loss.py
"""

import torch

from isckit import config
from isckit.losses.objective import Batch, Objective, Parts
from isckit.models.heads import Outputs
from isckit.models.network import EmbeddingNetwork


class HardestOther(Objective):
    """Mean over images of relu(margin + similarity to the nearest other image - similarity to its furthest copy)."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    def forward(self, outputs: Outputs, batch: Batch) -> Parts:
        """Return "loss", what is minimised, and "gap", for the log."""
        similarity = outputs.embedding @ outputs.embedding.T
        same = batch.labels[:, None] == batch.labels
        copy = similarity.masked_fill(~same, 2).amin(1)
        other = similarity.masked_fill(same, -2).amax(1)
        return {"loss": (self.margin + other - copy).relu().mean(), "gap": (copy - other).mean().detach()}


def main(steps: int = 30) -> tuple[float, float]:
    """Train a small network on noisy copies of eight pictures; return the gap at the first and at the last step."""
    torch.manual_seed(1)
    backbone = config.Backbone(name="test_resnet")
    network = EmbeddingNetwork(config.Network(backbone=backbone, dim=16, image_size=32)).train()
    objective, optimiser = HardestOther(margin=0.3), torch.optim.Adam(network.parameters(), lr=3e-3)
    pictures, labels, gaps = torch.rand(8, 3, 32, 32), torch.arange(8).repeat(2), []
    for _ in range(steps):
        copies = (pictures.repeat(2, 1, 1, 1) + 0.2 * torch.randn(16, 3, 32, 32)).clamp(0, 1)
        pixels = (255 * copies).to(torch.uint8)
        parts = objective(network.outputs(pixels), Batch(pixels, labels, views=torch.arange(2).repeat_interleave(8)))
        optimiser.zero_grad()
        parts["loss"].backward()
        optimiser.step()
        gaps.append(float(parts["gap"]))
    print(f"similarity of copies above that of others: {gaps[0]:.2f} before, {gaps[-1]:.2f} after {steps} steps")
    return gaps[0], gaps[-1]


if __name__ == "__main__":
    main()
