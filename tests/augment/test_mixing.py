import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isckit import config
from isckit.augment.batched import mix, overlapping

ALWAYS = config.Mix(probability=1.0)


def planes(count, size=32):
    """Image k < count / 2 is a plane of the grey level k, its partner one of 255 - k: values tell their source."""
    levels = torch.arange(count)
    levels = torch.where(levels < count / 2, levels, 256 - count + levels).to(torch.uint8)
    return levels[:, None, None, None].expand(-1, 3, size, size).contiguous()


def test_rows_sum_to_one_and_hold_the_image_and_its_partner_alone(generator):
    for count in (1, 2, 7, 64):
        _, weights = mix(planes(count), ALWAYS, generator(count))
        assert weights.shape == (count, count) and weights.dtype == torch.float32
        torch.testing.assert_close(weights.sum(1), torch.ones(count))
        assert (weights >= 0).all()
        allowed = torch.eye(count).logical_or(torch.eye(count).flip(1))
        assert not weights[~allowed].any()


def test_cutmix_weighs_by_counted_pixels_and_mixup_by_value(generator):
    pixels = planes(200)
    mixed, weights = mix(pixels, ALWAYS, generator())
    assert mixed.dtype == torch.uint8
    cut = up = 0
    for i in range(200):
        own, mine, others = float(weights[i, i]), int(pixels[i, 0, 0, 0]), int(pixels[199 - i, 0, 0, 0])
        values = mixed[i].unique()
        assert len(values) <= 2
        if set(values.tolist()) <= {mine, others}:
            assert own == pytest.approx(float((mixed[i, 0] == mine).double().mean()), abs=1e-6)
            assert (mixed[i] == mixed[i, :1]).all()
            rows, columns = np.nonzero((mixed[i, 0] == others).numpy())
            if len(rows):
                assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)  # one box
            cut += 1
        else:
            assert abs(int(values[0]) - (own * mine + (1 - own) * others)) <= 0.5 + 1e-3
            up += 1
    assert 70 < cut < 130 and up == 200 - cut


def test_weights_are_beta_and_boxes_lie_anywhere(generator):
    pixels = planes(200, 16)
    mixed, weights = mix(pixels, ALWAYS, generator(5))
    foreign = mixed[:, 0] == pixels.flip(0)[:, 0]
    is_cut = ((mixed[:, 0] == pixels[:, 0]) | foreign).flatten(1).all(1)
    own = weights.diagonal()[~is_cut]
    assert abs(own.mean() - 0.5) < 0.06 and abs(own.var() - 1 / 20) < 0.015  # Beta(2, 2)
    hit = foreign[is_cut].float().mean(0)
    assert hit.min() > 0.04 and hit.max() < 0.8 and hit[8, 8] > hit[0, 0]
    _, lopsided = mix(pixels, config.Mix(probability=1.0, beta=0.1), generator(5))
    assert lopsided.diagonal()[~is_cut].var() > 0.1


def test_the_expected_share_is_mixed_and_the_rest_is_untouched(generator):
    rng = generator(3)
    total = 0
    for seed in range(20):
        pixels = torch.from_numpy(generator(seed).integers(256, size=(128, 3, 8, 8), dtype=np.uint8))
        before = pixels.clone()
        mixed, weights = mix(pixels, config.Mix(), rng)
        assert torch.equal(pixels, before)
        alone = weights.diagonal() == 1
        assert torch.equal(mixed[alone], pixels[alone])
        assert torch.equal(weights[alone], torch.eye(128)[alone])
        total += int((~alone).sum())
    assert 90 < total < 170  # 5% of 2560 are 128; boxes of no pixel mix nothing
    mixed, weights = mix(pixels, config.Mix(probability=0.0), rng)
    assert torch.equal(mixed, pixels) and torch.equal(weights, torch.eye(128))


def test_partners_are_taken_as_they_were_before_mixing(generator):
    """If both of a pair are mixed, neither sees the other's result: shares of two planes recover both levels."""
    pixels = planes(2, 16)
    for seed in range(30):
        mixed, weights = mix(pixels, ALWAYS, generator(seed))
        np.testing.assert_allclose(mixed.double().mean((1, 2, 3)), (weights @ torch.tensor([0.0, 255.0])), atol=0.51)


def test_draws_are_a_function_of_the_generator(generator):
    one, two, other = (mix(planes(64), config.Mix(probability=0.5), generator(k)) for k in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not torch.equal(one[1], other[1])


def test_nothing_waits_for_the_device(generator):
    pixels = torch.empty(16, 3, 8, 8, dtype=torch.uint8, device="meta")
    mixed, weights = mix(pixels, ALWAYS, generator())
    assert mixed.shape == pixels.shape and weights.shape == (16, 16)
    assert mixed.device.type == weights.device.type == "meta"
    labels = torch.zeros(16, dtype=torch.int64, device="meta")
    assert overlapping(weights, labels).device.type == "meta"


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(0, 10_000))
def test_overlapping_is_what_the_sets_of_sources_say(count, seed):
    rng = np.random.default_rng(seed)
    weights = rng.random((count, count)) * (rng.random((count, count)) < 0.15) + np.eye(count) * (rng.random() < 0.7)
    labels = rng.integers(0, max(1, count // 2) + 1, count)
    sources = [{int(labels[j]) for j in range(count) if weights[i, j] > 0} for i in range(count)]
    want = [[not a.isdisjoint(b) for b in sources] for a in sources]
    got = overlapping(torch.from_numpy(weights).float(), torch.from_numpy(labels))
    assert got.dtype == torch.bool and got.tolist() == want


def test_unmixed_images_overlap_with_their_copies_alone():
    labels = torch.tensor([4, 4, 9, 2, 9])
    assert torch.equal(overlapping(torch.eye(5), labels), labels[:, None] == labels)
