import numpy as np
import torch

from isckit.augment import colour


def test_grayscale_has_equal_channels_of_the_luma(photo, generator):
    image = photo(40, 50)
    out = colour.grayscale(image, generator())
    assert (out == out[..., :1]).all()
    np.testing.assert_allclose(out[..., 0], image @ (0.299, 0.587, 0.114), atol=0.51)


def test_jitter_of_zero_changes_nothing_and_each_part_does_its_own(photo, generator):
    image = photo(40, 50)
    none = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    np.testing.assert_array_equal(colour.colour_jitter(image, generator(), **none), image)
    grey = image @ (0.299, 0.587, 0.114)
    for part in none:
        outs = [colour.colour_jitter(image, generator(k), **(none | {part: 0.3})).astype(float) for k in range(12)]
        assert max(np.abs(out - image).mean() for out in outs) > 4, part
        luma = max(abs((out @ (0.299, 0.587, 0.114)).mean() - grey.mean()) for out in outs)
        assert part == "hue" or (luma > 20) == (part == "brightness"), (part, luma)


def test_jitter_factors_lie_within_their_bounds(generator):
    image = np.full((4, 4, 3), 100, np.uint8)
    levels = [
        colour.colour_jitter(image, generator(k), brightness=0.3, contrast=0, saturation=0, hue=0).mean()
        for k in range(200)
    ]
    assert 69 <= min(levels) < 75 and 125 < max(levels) <= 131 and abs(np.mean(levels) - 100) < 4


def test_brightness_is_a_product(photo, generator):
    image = photo(40, 50)
    out = colour.brightness(image, generator(), factor=(0.25, 0.25))
    np.testing.assert_allclose(out, image * 0.25, atol=0.51)
    assert colour.brightness(image, generator(), factor=(9, 9)).max() == 255


def test_invert_negates_whole_channels_and_at_least_one(photo, generator):
    image = photo(20, 30)
    seen = set()
    for seed in range(60):
        out = colour.invert(image, generator(seed))
        negated = tuple(bool((out[..., c] == 255 - image[..., c]).all()) for c in range(3))
        kept = tuple(bool((out[..., c] == image[..., c]).all()) for c in range(3))
        assert all(a != b for a, b in zip(negated, kept, strict=True))
        seen.add(negated)
    assert len(seen) == 7 and (False, False, False) not in seen


def test_shuffle_channels_is_one_of_the_five_other_orders(photo, generator):
    image = photo(20, 30)
    seen = set()
    for seed in range(60):
        out = colour.shuffle_channels(image, generator(seed))
        seen.add(tuple(next(c for c in range(3) if (out[..., k] == image[..., c]).all()) for k in range(3)))
    assert len(seen) == 5 and (0, 1, 2) not in seen and all(sorted(order) == [0, 1, 2] for order in seen)


def test_equalize_spreads_the_values_of_each_channel(photo, generator):
    dim = photo(64, 64) // 4 + 90
    out = colour.equalize(dim, generator())
    for channel in range(3):
        assert (out[..., channel].min(), out[..., channel].max()) == (0, 255)
        values = np.unique(dim[..., channel])
        after = [np.unique(out[..., channel][dim[..., channel] == value]) for value in values]
        assert all(len(found) == 1 for found in after)
        assert (np.diff([int(found[0]) for found in after]) >= 0).all()  # a rising function of the value


def test_auto_augment_leaves_torchs_own_numbers_alone(photo, generator):
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    views = {colour.auto_augment(photo(40, 40), generator(seed), policy="cifar10").tobytes() for seed in range(30)}
    assert torch.equal(torch.rand(4), wanted) and len(views) > 10


def test_solarize_and_posterize_follow_their_formulas(photo, generator):
    image = photo(40, 50)
    out = colour.solarize(image, generator(), threshold=(0.5, 0.5))
    np.testing.assert_array_equal(out, np.where(image >= 127.5, 255 - image, image))
    for bits in (1, 2, 4, 7):
        out = colour.posterize(image, generator(), bits=(bits, bits))
        np.testing.assert_array_equal(out, image // 2 ** (8 - bits) * 2 ** (8 - bits))


def test_enhance_is_pillows_brightness_contrast_and_colour_in_this_order(photo, generator):
    from PIL import Image, ImageEnhance

    image = photo(40, 50)
    for seed in range(6):
        for intensity in (1.0, 0.75):
            rng = generator(seed)
            brightness, contrast = rng.uniform(0.25, 1.75, 2)
            saturation = 0.2 + np.exp(5 * rng.random()) / 6
            twin = Image.fromarray(image)
            for kind, amount in [("Brightness", brightness), ("Contrast", contrast), ("Color", saturation)]:
                twin = getattr(ImageEnhance, kind)(twin).enhance(1 - intensity + intensity * amount)
            out = colour.enhance(image, generator(seed), intensity=intensity).astype(int)
            # A grey level of difference is multiplied by the saturation.
            assert np.abs(out - np.array(twin)).mean() < 1 + saturation
    np.testing.assert_array_equal(colour.enhance(image, generator(), intensity=0.0), image)


def test_fade_mixes_with_white(photo, generator):
    image = photo(40, 50)
    out = colour.fade(image, generator(), level=(0.6, 0.6))
    np.testing.assert_allclose(out, 0.6 * image + 0.4 * 255, atol=0.51)
    np.testing.assert_array_equal(colour.fade(image, generator(), level=(1.0, 1.0)), image)


def test_inversion_by_coins_leaves_an_eighth_as_it_is(photo, generator):
    image = photo(8, 9)
    kept = [np.array_equal(colour.invert(image, generator(k), none=True), image) for k in range(1200)]
    assert abs(np.mean(kept) - 1 / 8) < 0.03


def test_swapped_channels_are_permuted_or_drawn_with_repetition(photo, generator):
    image = photo(8, 9)

    def orders(repeated):
        outs = [colour.swap_channels(image, generator(k), repeated=repeated) for k in range(900)]
        return [
            tuple(next(c for c in range(3) if (out[..., k] == image[..., c]).all()) for k in range(3)) for out in outs
        ]

    assert set(orders(0.0)) == {(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)}
    assert len(set(orders(1.0))) == 27
    distinct = np.mean([len(set(order)) == 3 for order in orders(0.25)])
    assert abs(distinct - (0.75 + 0.25 * 6 / 27)) < 0.05
