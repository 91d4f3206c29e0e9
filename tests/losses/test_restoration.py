import pytest
import torch
from torch import nn

from isckit.losses.distillation import Restoration


def plain(n=3, size=16, seed=0):
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def grey(size):
    """A decoder that says 0.5 everywhere."""
    decoder = Restoration(6, size=size)
    nn.init.zeros_(decoder.colours.weight)
    nn.init.zeros_(decoder.colours.bias)
    return decoder


@pytest.mark.parametrize("size", [1, 5, 24])
@pytest.mark.parametrize("shape", [(4, 4), (1, 7)])
def test_a_map_of_any_shape_becomes_an_image_of_the_size_asked_for(size, shape):
    image = Restoration(6, size=size).decode(torch.randn(2, 6, *shape))
    assert image.shape == (2, 3, size, size) and 0 <= float(image.min()) <= float(image.max()) <= 1


def test_the_loss_is_the_weighted_mean_over_all_views():
    images = plain()
    error = (images / 255 - 0.5).abs().mean((1, 2, 3))
    weights = torch.tensor([1.0, 0.0, 0.25])
    value = grey(16)(torch.randn(3, 6, 2, 2), images, weights)
    assert float(value) == pytest.approx(float((error * weights).sum() / 3), rel=1e-6)


def test_the_target_is_the_plain_image_made_smaller_without_aliasing():
    stripes = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    stripes[..., [0, 3, 4, 7, 8, 11, 12, 15]] = 255
    value = grey(4)(torch.randn(1, 6, 2, 2), stripes, torch.ones(1))
    assert float(value) < 0.1


def test_a_view_of_no_weight_gives_no_gradient_and_one_of_weight_reaches_the_network():
    features = torch.randn(2, 6, 2, 2, requires_grad=True)
    Restoration(6, size=8)(features, plain(2), torch.tensor([0.0, 1.0])).backward()
    assert float(features.grad[0].abs().sum()) == 0 < float(features.grad[1].abs().sum())
