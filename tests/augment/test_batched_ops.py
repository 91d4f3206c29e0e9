"""Every batched edit against the op on single images, with the same draws, and its own closed forms."""

import numpy as np
import pytest
import torch

from isckit.augment import batched_ops
from isckit.augment.batched import BatchedPipeline
from isckit.augment.batched_draws import ORDERS
from isckit.augment.steps import Pipeline, step

SIZE, COUNT = 48, 24
ONLY = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}

# op, ranges, largest mean and largest single difference in grey levels.
# Rounding is 0.5 of a level. The op on single images cuts products instead of rounding them (1.0), steps the hue by 2
# degrees (9 levels of a full colour), and takes three boxes for a Gaussian of more than 2 px.
PARITY = [
    ("hflip", {}, 0, 0),
    ("vflip", {}, 0, 0),
    ("grayscale", {}, 0.02, 1),
    ("colour_jitter", ONLY | {"brightness": 0.8}, 1.0, 1),
    ("colour_jitter", ONLY | {"contrast": 0.8}, 1.0, 1),
    ("colour_jitter", ONLY | {"saturation": 0.8}, 0.5, 1),
    ("colour_jitter", ONLY | {"hue": 0.2}, 1.2, 10),
    ("colour_jitter", {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.0}, 1.5, 4),
    ("colour_jitter", {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}, 2.5, 20),
    ("blur", {"sigma": (0.0, 0.04)}, 0.1, 2),
    ("blur", {"sigma": (0.05, 0.1)}, 1.0, 8),
    ("pixelate", {"look": ("blocky",)}, 0.1, 1),
    ("pixelate", {"look": ("soft",)}, 0.4, 1),
    ("resized_crop", {"scale": (0.1, 1.0)}, 0.4, 1),
]


def generator(seed):
    return np.random.Generator(np.random.PCG64(seed))


def edited(op, ranges, images):
    """(batched, one by one), both (n, S, S, 3) int, drawn from the same generators."""
    steps = (step(op, 1.0, **ranges),)
    batched, single = BatchedPipeline(steps), Pipeline(steps)
    rows = np.stack([batched.draw(generator(k), SIZE) for k in range(len(images))])
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    out = batched.apply(pixels, torch.from_numpy(rows)).permute(0, 2, 3, 1).numpy().astype(int)
    want = [single(image, generator(k), None, SIZE) for k, image in enumerate(images)]
    return out, np.stack(want).astype(int)


@pytest.mark.parametrize(("op", "ranges", "mean", "largest"), PARITY)
def test_a_batch_is_edited_as_single_images_are(op, ranges, mean, largest, photo):
    images = [photo(SIZE, SIZE, k) for k in range(COUNT)]
    out, want = edited(op, ranges, images)
    gap = np.abs(out - want)
    assert np.abs(want - np.stack(images)).mean() > 2
    assert gap.mean((1, 2, 3)).max() <= mean and gap.max() <= largest, (gap.mean((1, 2, 3)).max(), gap.max())


@pytest.mark.parametrize("cells", [1, 2, 5, 16, 48])
@pytest.mark.parametrize("look", ["blocky", "soft"])
def test_pixelation_to_so_many_cells(cells, look, photo):
    out, want = edited("pixelate", {"ratio": (cells / SIZE, cells / SIZE), "look": (look,)}, [photo(SIZE, SIZE)])
    assert np.abs(out - want).max() <= 1
    assert look == "soft" or len(np.unique(out.reshape(-1, 3), axis=0)) <= cells**2


@pytest.mark.parametrize("op", ["blur", "pixelate", "resized_crop", "colour_jitter"])
def test_a_grey_plane_stays_a_plane(op):
    plane = np.full((SIZE, SIZE, 3), 113, np.uint8)
    ranges = ONLY if op == "colour_jitter" else {}
    out, _ = edited(op, ranges, [plane] * 8)
    assert (out == 113).all()


def test_the_hue_turns_the_primaries_into_each_other():
    pixels = torch.zeros(3, 3, 2, 2, dtype=torch.uint8)
    pixels[:, 0] = 200  # red
    one, none = torch.ones(3), torch.zeros(3)
    out = batched_ops.colour_jitter(
        pixels, brightness=one, contrast=one, saturation=one, hue=torch.tensor([0.0, 1 / 3, 1 / 6]), order=none
    )
    assert out[:, :, 0, 0].tolist() == [[200, 0, 0], [0, 200, 0], [200, 200, 0]]


def test_the_order_of_the_adjustments_is_the_one_drawn(photo):
    """Each of the 24 orders comes nearest to its own adjustments one after the other, up to their rounding."""
    pixels = torch.from_numpy(photo(SIZE, SIZE)).permute(2, 0, 1)[None]
    strengths = {"brightness": 1.5, "contrast": 0.4, "saturation": 1.7, "hue": 0.15}
    same = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0}
    one_by_one, at_once = [], []
    for number, order in enumerate(ORDERS):
        out = pixels
        for k in order:
            name = list(strengths)[k]
            out = batched_ops.colour_jitter(out, **numbers(same | {name: strengths[name], "order": 0}))
        one_by_one.append(out.float())
        at_once.append(batched_ops.colour_jitter(pixels, **numbers(strengths | {"order": number})).float())
    gap = (torch.cat(at_once)[:, None] - torch.cat(one_by_one)).abs().mean((2, 3, 4))
    assert gap.diagonal().max() < 1 and (gap.diagonal() - gap.min(1).values).max() < 0.5
    assert ((gap < 1).sum(1) <= 6).all()  # few orders come to the same


def numbers(values):
    return {name: torch.tensor([float(value)]) for name, value in values.items()}


def test_noise_is_normal_of_that_deviation_and_differs_between_images_and_values():
    pixels = torch.full((2, 3, 64, 64), 128, dtype=torch.uint8)
    seed = torch.tensor([7.0, 8.0])
    out = batched_ops.noise(pixels, deviation=torch.tensor([5.0, 30.0]), seed=seed).double() - 128
    assert out.mean((1, 2, 3)).abs().max() < 1
    np.testing.assert_allclose(out.std((1, 2, 3)), (5, 30), rtol=0.03)
    for k, deviation in enumerate((5, 30)):
        assert abs((out[k].abs() < deviation).double().mean() - 0.68) < 0.05
    flat = out.flatten(2).reshape(6, -1)
    assert np.abs(np.corrcoef(flat) - np.eye(6)).max() < 0.07
    beside = [np.corrcoef(row[:-1], row[1:])[0, 1] for row in flat.numpy()]
    assert np.abs(beside).max() < 0.07
    again = batched_ops.noise(pixels, deviation=torch.tensor([5.0, 30.0]), seed=seed).double() - 128
    assert torch.equal(again, out)


@pytest.mark.parametrize("gaussian", [False, True])
def test_erasing_fills_the_box_of_the_op_on_single_images_with_its_noise(gaussian):
    plane = np.full((SIZE, SIZE, 3), 77, np.uint8)
    out, want = edited("erase", {"gaussian": gaussian, "scale": (0.2, 0.5)}, [plane] * 60)
    # A value of the noise may be the plane's by chance, all three of a pixel hardly ever.
    differing = ((out != 77).any(-1) != (want != 77).any(-1)).mean()
    assert differing < 1e-3
    inside = (want != 77).any(-1)
    for level in (0, 1, 100, 200, 255):
        shares = [(values[inside] <= level).mean() for values in (out, want)]
        assert abs(shares[0] - shares[1]) < 0.01, (level, shares)


def test_strengths_are_drawn_over_the_ranges_of_the_ops():
    sigma = [BatchedPipeline((step("blur"),)).draw(generator(k), 100)[1] for k in range(300)]
    assert 0.5 <= min(sigma) < 0.6 and 3.9 < max(sigma) <= 4.0
    grain = np.stack([BatchedPipeline((step("noise"),)).draw(generator(k), 100) for k in range(300)])
    assert 5 <= grain[:, 1].min() < 6 and 39 < grain[:, 1].max() <= 40
    assert len(np.unique(grain[:, 2])) > 290 and grain[:, 2].max() < 2**24
