"""The second prize's 23 edits: the table value by value, how intensity scales it, and what excludes what."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from isckit.augment.draws import Choice
from isckit.augment.nodes import InTurn, OneOf
from isckit.augment.pipelines import find
from isckit.augment.steps import Step

# name: (probability at intensity 1, does the intensity scale it, what excludes it)
TURNS = {
    "downscale": (0.10, False, ()),
    "rotate": (0.10, True, ()),
    "perspective": (0.10, True, ()),
    "jpeg": (0.10, False, ()),
    "jitter": (0.20, False, ()),
    "grayscale": (0.10, True, ()),
    "opacity": (0.05, True, ()),
    "safe size": (1.0, False, ()),
    "crop": (0.10, True, ("perspective",)),
    "pad": (0.05, True, ("perspective",)),
    "overlay": (0.10, True, ("perspective",)),
    "blur or sharpen": (0.10, True, ()),
    "pixel shuffle": (0.10, False, ()),
    "safe size again": (1.0, False, ()),
    "stripes": (0.10, True, ()),
    "emoji": (0.10, True, ()),
    "text": (0.10, True, ()),
    "pixelise": (0.10, True, ()),
    "hflip": (0.50, False, ()),
    "vflip": (0.10, False, ()),
    "caption": (0.10, True, ("overlay",)),
    "page": (0.05, True, ("perspective", "overlay")),
    "channel inversion": (0.05, True, ("grayscale", "page")),
    "channel swap": (0.05, True, ("grayscale", "page")),
    "channel shift": (0.05, True, ("grayscale", "page")),
}


def ranges(i):
    """Edits and ranges of the turns at an intensity."""
    return {
        "downscale": [("downscale", {"factor": (0.6, 1.0)})],
        "rotate": [("rotate", {"angle": Choice(tuple(i * degrees for degrees in range(361)))})],
        "perspective": [("corner_jitter", {"sigma": (30 * i / 384, 30 * i / 384), "border": ("black", "cropped")})],
        "jpeg": [("jpeg", {"quality": Choice(tuple(int(i * quality) for quality in range(10, 51)))})],
        "jitter": [("enhance", {"factor": (0.25, 1.75), "intensity": i})],
        "grayscale": [("grayscale", {})],
        "opacity": [("fade", {"level": (0.6, 1.0)})],
        "safe size": [("enlarge", {})],
        "crop": [("corner_crop", {"low": Choice((0, 0.0625, 0.125, 0.25)), "high": Choice((0.75, 0.875, 0.9375, 1))})],
        "pad": [("pad", {"share": (0.0, 0.1 * i)}), ("pad_square", {})],
        "overlay": [
            ("overlay_by_height", {"share": (0.1, 0.7), "opacity": (0.2, 1.2), "corner": (0.0, 1.0)}),
            ("underlay", {"share": (0.4, 0.8), "opacity": (0.4, 1.4)}),
        ],
        "blur or sharpen": [
            ("blur", {"sigma": Choice(tuple(i * px / 384 for px in (1.1, 2.1, 3.1, 4.1)))}),
            ("sharpen", {"factor": (1.0, 1 + 50 * i)}),
        ],
        "pixel shuffle": [("pixel_shuffle", {"share": (0.0, 0.2 * i)})],
        "safe size again": [("enlarge", {})],
        "stripes": [("stripes", {"width": (0.05, 0.25), "density": (0.0, 0.8), "opacity": (0.1, 1.0)})],
        "emoji": [("emoji", {"share": (0.05, 1.0), "opacity": (0.2, 1.0)})],
        "text": [
            (
                "text",
                {
                    "share": Choice((0.10, 0.15, 0.25, 0.30, 0.40)),
                    "opacity": (0.2, 1.0),
                    "letters": (5, 10),
                    "lines": (1, 1),
                },
            )
        ],
        "pixelise": [("pixelate", {"ratio": Choice((1 / 8, 1 / 4, 1 / 2, 3 / 4)), "look": ("soft",)})],
        "hflip": [("hflip", {})],
        "vflip": [("vflip", {})],
        "caption": [("meme", {"share": (20 / 384, 145 / 384)})],
        "page": [("page", {})],
        "channel inversion": [("invert", {"none": True})],
        "channel swap": [("swap_channels", {"repeated": 0.25})],
        "channel shift": [("shift_channels", {"share": 0.05})],
    }


def turns(name):
    """The turns of a pipeline by name, after the stored square."""
    stored, in_turn = find(name).steps
    assert stored == Step("stretch", 1.0, {"scale": 2.0}) and isinstance(in_turn, InTurn)
    return {turn.name: turn for turn in in_turn.turns}


def edits(turn):
    """Op and ranges of the steps of a turn; two are taken with even chances."""
    (node,) = turn.steps
    if isinstance(node, OneOf):
        assert [weight for weight, _ in node.branches] == [0.5, 0.5]
        nodes = [inner for _, (inner,) in node.branches]
    else:
        nodes = [node]
    assert all(node.probability == 1 for node in nodes)
    return [(node.op, dict(node.ranges)) for node in nodes]


@pytest.mark.parametrize(("name", "intensity"), [("s_square", 1.0), ("s_square@0.75", 0.75), ("s_square@0.5", 0.5)])
def test_order_probabilities_exclusions_and_ranges_are_the_table(name, intensity):
    found = turns(name)
    assert list(found) == list(TURNS)
    for turn, (probability, scaled, unless) in TURNS.items():
        assert found[turn].probability == pytest.approx(probability * (intensity if scaled else 1)), turn
        assert found[turn].unless == unless, turn
        assert edits(found[turn]) == ranges(intensity)[turn], turn


def test_the_early_version_has_no_exclusions_and_its_own_values():
    found, changed = turns("s_square.early"), {"jitter": 0.25}
    changed |= dict.fromkeys(("channel inversion", "channel swap", "channel shift"), 0.10)
    table = ranges(1.0)
    table["downscale"] = [("downscale", {"factor": (0.5, 0.9)})]
    table["caption"] = [("meme", {"share": (20 / 384, 245 / 384)})]
    table["channel shift"] = [("shift_channels", {"share": 25 / 384})]
    assert list(found) == list(TURNS)
    for turn, (probability, _, _) in TURNS.items():
        assert found[turn].probability == pytest.approx(changed.get(turn, probability)), turn
        assert found[turn].unless == () and edits(found[turn]) == table[turn], turn


@dataclass
class Probe:
    name: str
    seen: set

    def apply(self, image, rng, other, size):
        self.seen.add(self.name)
        return image


@pytest.fixture(scope="module")
def fired():
    """fired(name): for each of 12,000 draws, which turns were done; the edits themselves are left out."""

    def fired(name):
        seen = set()
        node = InTurn(tuple(replace(turn, steps=(Probe(turn.name, seen),)) for turn in turns(name).values()))
        rng, image, result = np.random.default_rng(0), np.zeros((1, 1, 3), np.uint8), []
        for _ in range(12_000):
            seen.clear()
            node.apply(image, rng, None, 8)
            result.append(frozenset(seen))
        return result

    return fired


def test_excluded_edits_never_come_together_and_the_others_as_often_as_told(fired):
    result = fired("s_square")
    for turn, (probability, _, unless) in TURNS.items():
        able = [done for done in result if done.isdisjoint(unless)]
        assert not any(turn in done for done in result if not done.isdisjoint(unless)), turn
        assert np.mean([turn in done for done in able]) == pytest.approx(probability, abs=0.012), turn


def test_half_the_intensity_halves_the_scaled_edits_only_and_the_early_version_excludes_nothing(fired):
    half = fired("s_square@0.5")
    for turn in ("rotate", "perspective", "emoji"):
        assert np.mean([turn in done for done in half]) == pytest.approx(0.05, abs=0.012)
    assert np.mean(["jpeg" in done for done in half]) == pytest.approx(0.10, abs=0.012)
    early = fired("s_square.early")
    assert np.mean([{"perspective", "overlay"} <= done for done in early]) == pytest.approx(0.01, abs=0.005)
