"""The edits of a mini set: what each phase draws, and that every op of the tables runs with its ranges."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from isckit.augment.steps import OPS
from isckit.synthetic.plan import CROP, EDITS, JOIN, JOINED, STEPS, draw_edits, edit
from isckit.synthetic.procedural import picture

KIND = {phase: {op: kind for kind, ops in kinds.items() for op in ops} for phase, kinds in EDITS.items()}
DRAWN = {phase: [draw_edits(np.random.default_rng(seed), phase) for seed in range(1500)] for phase in EDITS}


@pytest.mark.parametrize("phase", EDITS)
def test_a_query_has_one_op_of_a_kind_crop_first_and_join_last(phase: int) -> None:
    for ops in DRAWN[phase]:
        kinds = [KIND[phase][op] for op in ops]
        assert len(set(kinds)) == len(kinds)
        assert CROP not in kinds[1:] and JOIN not in kinds[:-1]
        assert STEPS[phase][0] <= len(kinds) - (JOIN in kinds) <= STEPS[phase][1]


@pytest.mark.parametrize("phase", EDITS)
def test_joins_have_their_share_and_every_op_is_drawn(phase: int) -> None:
    joined = np.mean([KIND[phase][ops[-1]] == JOIN for ops in DRAWN[phase]])
    assert abs(joined - JOINED[phase]) < 0.04
    assert {op for ops in DRAWN[phase] for op in ops} == set(KIND[phase])


def test_orders_vary() -> None:
    pairs = {(a, b) for ops in DRAWN[1] for a, b in pairwise(ops)}
    assert ("hflip", "grayscale") in pairs and ("grayscale", "hflip") in pairs


def test_phase_2_has_more_edits_and_ops_that_phase_1_has_not() -> None:
    assert set(KIND[1]) < set(KIND[2])
    assert len(set(KIND[2]) - set(KIND[1])) >= 10
    assert np.mean([len(ops) for ops in DRAWN[2]]) > np.mean([len(ops) for ops in DRAWN[1]]) + 0.5


@pytest.mark.parametrize(("phase", "op"), [(phase, op) for phase in EDITS for op in KIND[phase]])
@pytest.mark.parametrize("size", [(16, 16), (61, 90)])
def test_every_op_changes_the_picture_and_is_a_function_of_the_generator(phase: int, op: str, size: tuple) -> None:
    assert op in OPS
    image, other = picture(1, size=size, family="garden"), picture(2, size=(40, 50))
    kept = image.copy()
    once, again = (edit(image, (op,), np.random.default_rng(5), phase=phase, other=lambda: other) for _ in range(2))
    assert once.dtype == np.uint8 and once.ndim == 3 and once.shape[2] == 3 and min(once.shape) > 0
    assert np.array_equal(once, again) and np.array_equal(image, kept)
    # On a thumbnail a weak edit may do nothing.
    assert min(size) == 16 or once.shape != image.shape or not np.array_equal(once, image)


def test_ops_run_one_after_the_other_in_the_given_order() -> None:
    image = picture(3, size=(40, 60))
    done = edit(image, ("hflip", "vflip", "grayscale"), np.random.default_rng(0), phase=1, other=lambda: image)
    expected = OPS["grayscale"](image[::-1, ::-1], np.random.default_rng(0))
    assert np.array_equal(done, expected)


def test_the_other_picture_is_only_fetched_for_a_join() -> None:
    image, fetched = picture(3, size=(40, 60)), []

    def other() -> np.ndarray:
        fetched.append(1)
        return image

    edit(image, ("crop", "jpeg", "noise"), np.random.default_rng(0), phase=1, other=other)
    assert not fetched
    edit(image, ("crop", "collage"), np.random.default_rng(0), phase=1, other=other)
    assert len(fetched) == 1
