import functools

import numpy as np
import pytest

from isckit import config
from isckit.augment.pipelines import find, view_rng
from isckit.data.items import GroupItems, LookAlikes, groups_of
from isckit.data.training import Witness, read_witness
from isckit.types import BadInput, Role, RuleViolation


def lists(count, length, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.array([[i, *rng.permutation(np.delete(np.arange(count), i))[: length - 1]] for i in range(count)])
    return LookAlikes(rows)


def items(train, stage, *, look=None, seed=1, view=None, **more):
    look = look or lists(len(train), 8)
    plain, strong = find(stage.plain), view or find(stage.view)
    rng = functools.partial(view_rng, seed, 0)
    groups = groups_of(stage, train, look)
    return GroupItems(train, groups, stage=stage, plain=plain, view=strong, size=32, rng=rng, **more)


def test_groups_follow_the_anchors_from_the_start_and_around(disc):
    look = lists(48, 8)
    stage = config.PairStage(groups=5, group=4, start=45)
    np.testing.assert_array_equal(groups_of(stage, disc.train, look), look.rows[[45, 46, 47, 0, 1], :4])


def test_what_is_edited_are_train_images_and_lists_are_long_enough(disc):
    look = lists(24, 8)
    with pytest.raises(RuleViolation):
        groups_of(config.PairStage(group=4), disc.references, look)
    for wrong in (look, LookAlikes(lists(48, 8).rows[:, :3])):
        with pytest.raises(BadInput, match="group"):
            groups_of(config.PairStage(group=4), disc.train, wrong)


def test_all_images_of_a_group_are_edited_with_the_same_draws(disc):
    drawn = []

    def view(image, rng, other, size):
        drawn.append((rng.random(7).tolist(), other().tobytes()))
        return np.zeros((size, size, 3), np.uint8)

    made = items(disc.train, config.PairStage(groups=3, group=6), view=view)
    for position in range(3):
        drawn.clear()
        made[position]
        assert len(drawn) == 6 and all(one == drawn[0] for one in drawn)
        backgrounds = {one[1] for one in drawn}
        assert len(backgrounds) == 1
    first = list(drawn)
    drawn.clear()
    made[0]
    assert drawn[0] != first[0]


def test_what_is_joined_to_a_group_is_none_of_its_images(disc):
    for position in range(20):
        made = items(disc.train, config.PairStage(groups=20, group=6))
        assert made._other(position) not in made.groups[position]


def test_an_item_is_a_function_of_seed_and_number(disc):
    stage = config.PairStage(groups=4, group=3, view="separate.mini", grey=0.5)
    made, again = items(disc.train, stage), items(disc.train, stage)
    third = again[2]
    assert all(np.array_equal(a, b) for a, b in zip(made[2], third, strict=True))
    other = items(disc.train, stage, seed=2)[2]
    assert not np.array_equal(other.queries, third.queries)
    assert made[0].references.shape == (3, 3, 32, 32) and made[0].counted.all()


def test_grey_halves_come_with_their_share_and_each_side_by_itself(disc):
    def coloured(pixels):
        return bool((pixels[:, 0] != pixels[:, 1]).any())

    for share, wanted in ((0.0, {(True, True)}), (1.0, {(False, False)})):
        made = items(disc.train, config.PairStage(groups=4, group=2, view="separate.basic", grey=share))
        assert {(coloured(g.references), coloured(g.queries)) for g in map(made.__getitem__, range(4))} == wanted
    made = items(disc.train, config.PairStage(groups=40, group=2, view="separate.basic", grey=0.5))
    seen = [(coloured(g.references), coloured(g.queries)) for g in map(made.__getitem__, range(40))]
    assert len(set(seen)) == 4


def test_near_duplicates_are_not_counted_but_an_image_and_its_copy_are(disc):
    angle = np.deg2rad(np.array([0, 5, 60]))
    vectors = np.zeros((48, 2), np.float32)
    vectors[:3] = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rows = np.tile(np.arange(3), (48, 1))
    look = LookAlikes(rows)
    stage = config.PairStage(groups=1, group=3, duplicate=0.99, view="separate.basic")
    counted = items(disc.train, stage, look=look, vectors=vectors)[0].counted.numpy()
    np.testing.assert_array_equal(counted, [[1, 0, 1], [0, 1, 1], [1, 1, 1]])


def test_the_witness_sees_each_image_with_what_is_joined_to_it(disc, tmp_path):
    path = tmp_path / "witness.jsonl"
    made = items(disc.train, config.PairStage(groups=2, group=3), witness=lambda at: Witness(path, 5 + at))
    made[1]
    seen = read_witness(path)
    assert [item["ids"][0] for item in seen] == disc.train.ids[made.groups[1]].tolist()
    assert {item["epoch"] for item in seen} == {6} and {item["role"] for item in seen} == {Role.TRAIN.value}
    assert {item["ids"][1] for item in seen} == {str(disc.train.ids[made._other(1)])}
