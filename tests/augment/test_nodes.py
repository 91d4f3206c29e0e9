from dataclasses import dataclass

import numpy as np
import pytest

from isckit.augment.nodes import AnyOrder, InTurn, OneOf, Turn
from isckit.augment.steps import Step

DARK = Step("brightness", 1.0, {"factor": (0.5, 0.5)})


@dataclass
class Probe:
    """A node that only notes that it ran."""

    name: str
    seen: list

    def apply(self, image, rng, other, size):
        self.seen.append(self.name)
        return image

    def rows(self):
        return [(self.name, "1", "")]

    def ops(self):
        return {self.name}


def runs(node, seen, count, generator):
    """What each of `count` runs noted."""
    rng, image, result = generator(), np.zeros((2, 2, 3), np.uint8), []
    for _ in range(count):
        seen.clear()
        node.apply(image, rng, None, 8)
        result.append(tuple(seen))
    return result


def test_one_of_takes_one_branch_by_weight(generator):
    image = np.full((2, 2, 3), 200, np.uint8)
    half, tenth = (Step("brightness", 1.0, {"factor": (f, f)}) for f in (0.5, 0.1))
    node = OneOf(((0.2, (half,)), (0.5, (tenth,)), (0.3, ())))
    levels = [int(node.apply(image, generator(k), None, 8)[0, 0, 0]) for k in range(2000)]
    shares = [levels.count(level) / 2000 for level in (100, 20, 200)]
    np.testing.assert_allclose(shares, (0.2, 0.5, 0.3), atol=0.04)
    assert sum(shares) == 1


def test_any_order_runs_all_in_every_order(generator):
    # x -> x / 2, then keep the upper bits; the other order gives another number.
    image = np.full((1, 1, 3), 190, np.uint8)
    node = AnyOrder((DARK, Step("posterize", 1.0, {"bits": (1, 1)})))
    seen = {int(node.apply(image, generator(k), None, 8)[0, 0, 0]) for k in range(40)}
    assert seen == {0, 64}


def test_some_in_any_order_are_distinct_and_every_ordered_pick_is_as_likely(generator):
    seen = []
    node = AnyOrder(tuple(Probe(name, seen) for name in "abcd"), some=(2, 2))
    picks = runs(node, seen, 2400, generator)
    assert all(len(set(pick)) == 2 for pick in picks)
    counts = {pick: picks.count(pick) for pick in set(picks)}
    assert len(counts) == 12 and min(counts.values()) > 140 and max(counts.values()) < 265


def test_some_may_be_a_range(generator):
    seen = []
    node = AnyOrder(tuple(Probe(name, seen) for name in "abcd"), some=(1, 3))
    lengths = [len(pick) for pick in runs(node, seen, 900, generator)]
    np.testing.assert_allclose([lengths.count(k) / 900 for k in range(5)], (0, 1 / 3, 1 / 3, 1 / 3, 0), atol=0.06)


def test_turns_come_in_order_with_their_probability_and_never_beside_what_they_exclude(generator):
    seen = []
    a, b, c = (Probe(name, seen) for name in "abc")
    node = InTurn((Turn("a", 0.5, (a,)), Turn("b", 0.4, (b,), unless=("a",)), Turn("c", 0.6, (c,), unless=("a", "b"))))
    result = runs(node, seen, 4000, generator)
    shares = {outcome: result.count(outcome) / 4000 for outcome in set(result)}
    wanted = {("a",): 0.5, ("b",): 0.2, ("c",): 0.18, (): 0.12}
    assert shares.keys() == wanted.keys()
    np.testing.assert_allclose([shares[k] for k in wanted], list(wanted.values()), atol=0.03)
    free = InTurn((Turn("a", 1.0, (a, b)), Turn("c", 1.0, (c,))))
    assert set(runs(free, seen, 5, generator)) == {("a", "b", "c")}


def test_nodes_as_text():
    turn = Turn("dim", 0.25, (DARK,))
    node = InTurn((turn, Turn("flip", 0.5, (Step("hflip"),), unless=("dim",))))
    assert node.rows() == [
        ("dim:", "0.25", ""),
        ("  brightness", "1", "factor 0.5..0.5"),
        ("flip:", "0.5", "unless dim"),
        ("  hflip", "1", ""),
    ]
    assert node.ops() == {"brightness", "hflip"}
    assert AnyOrder((DARK,), some=(1, 1)).rows()[0] == ("1 in any order", "1", "")
    assert AnyOrder((DARK,), some=(0, 1)).rows()[0] == ("0..1 in any order", "1", "")
    assert AnyOrder((DARK,)).rows()[0] == ("in any order", "1", "")


@pytest.mark.parametrize(
    "make",
    [
        lambda: OneOf(((0.5, ()), (0.4, ()))),
        lambda: AnyOrder((DARK,), some=(2, 2)),
        lambda: AnyOrder((DARK, DARK), some=(2, 1)),
        lambda: Turn("a", 1.5, ()),
        lambda: InTurn((Turn("a", 1.0, (), unless=("b",)), Turn("b", 1.0, ()))),
    ],
)
def test_a_wrong_node_is_refused_at_birth(make):
    with pytest.raises(AssertionError):
        make()
