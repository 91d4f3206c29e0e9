"""The plan of a mini set: every picture used once, copies paired with references, numbers that fit."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isckit.synthetic.plan import Plan, automatic, draw_tasks, make_plan
from isckit.types import BadInput

FREE = {"seed": 1, "positives": 0.4, "size": 64, "photos": ""}


def plan_of(train: int, references: int, queries: int, **others: object) -> Plan:
    return make_plan(None, train=train, references=references, queries=queries, **{**FREE, **others})  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(0, 30), st.integers(1, 30), st.floats(0, 1), st.integers(0, 2**31))
def test_no_picture_is_used_twice_but_by_a_copy_and_its_reference(
    train: int, more: int, queries: int, positives: float, seed: int
) -> None:
    references = 2 * max(1, round(positives * queries)) + more
    plan = plan_of(train, references, queries, positives=positives, seed=seed)
    tasks = draw_tasks(plan)
    sets, asked = tasks[: train + references], tasks[train + references :]
    shown_by = {task.image_id: task.picture for task in sets}
    lone = [task for task in asked if not task.reference]
    copies = [task for task in asked if task.reference]

    numbers = [task.picture for task in sets + lone]
    assert sorted(numbers) == list(range(plan.pictures - plan.props))  # each once, and no prop among them
    assert all(task.picture == shown_by[task.reference] for task in copies)
    assert max(Counter(task.reference for task in copies).values(), default=0) <= 1
    assert [len([t for t in copies if t.phase == phase]) for phase in (1, 2)] == [plan.copies] * 2
    assert len({task.path for task in tasks}) == len(tasks) == train + references + 2 * queries


def test_ids_and_folders_are_those_of_disc21() -> None:
    ids = [task.path for task in draw_tasks(plan_of(2, 4, 2))]
    assert ids == [
        "images/train/T000000.jpg", "images/train/T000001.jpg",
        "images/references/R000000.jpg", "images/references/R000001.jpg",
        "images/references/R000002.jpg", "images/references/R000003.jpg",
        "images/queries/Q00000.jpg", "images/queries/Q00001.jpg",
        "images/final_queries/Q50000.jpg", "images/final_queries/Q50001.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize("queries", [1, 2, 5, 10, 41])
def test_the_public_half_has_half_of_the_copies(queries: int) -> None:
    plan = plan_of(1, 60, queries)
    asked = [task for task in draw_tasks(plan) if task.phase == 1]
    public = sum(bool(task.reference) for task in asked[: queries // 2])
    assert public == min(queries // 2, (plan.copies + 1) // 2)


def test_plans_differ_by_seed_and_are_equal_for_equal_arguments() -> None:
    one, same, other = (draw_tasks(plan_of(20, 30, 10, seed=seed)) for seed in (1, 1, 2))
    assert one == same
    assert [task.picture for task in one] != [task.picture for task in other]
    assert [task.edits for task in one] != [task.edits for task in other]


@given(st.integers(12, 5000), st.floats(0, 1))
def test_the_automatic_split_uses_every_picture(pictures: int, positives: float) -> None:
    train, references, queries = automatic(pictures, positives=positives)
    plan = make_plan(pictures, train=0, references=0, queries=0, seed=1, positives=positives, size=64, photos="x")
    assert (plan.train, plan.references, plan.queries) == (train, references, queries)
    assert plan.pictures == pictures and plan.train >= 1


def test_the_automatic_split_is_about_six_to_three_to_one() -> None:
    train, references, queries = automatic(10_420, positives=0.4)
    assert references == 3 * queries and 0.9 < train / (6 * queries) < 1.1 and 950 < queries < 1050
    assert (lambda p: (p.train, p.references, p.queries))(plan_of(0, 0, 0)) == (600, 300, 100)


def test_too_few_photos_names_the_need_and_the_automatic_split() -> None:
    with pytest.raises(BadInput) as caught:
        make_plan(100, train=600, references=300, queries=100, **FREE)  # type: ignore[arg-type]
    # 600 + 300 + 2 x 60 distractors + 22 props
    assert "100 different photos, 1042 needed" in caught.value.seen
    train, references, queries = automatic(100, positives=0.4)
    assert f"--train {train} --references {references} --queries {queries}" in caught.value.remedy


@pytest.mark.parametrize("available", range(1, 12))
def test_a_handful_of_photos_is_refused_or_split(available: int) -> None:
    smallest = Plan(1, 3, 1, 0, 0.4, 0, "").pictures
    free = {"train": 0, "references": 0, "queries": 0, **FREE}
    if available >= smallest:
        assert make_plan(available, **free).pictures == available  # type: ignore[arg-type]
    else:
        with pytest.raises(BadInput, match="needed") as caught:
            make_plan(available, **free)  # type: ignore[arg-type]
        assert caught.value.allowed.startswith(f"{smallest} photos or more")


def test_more_copies_than_references_is_refused_with_the_number_to_pass() -> None:
    with pytest.raises(BadInput, match="7 references") as caught:
        plan_of(5, 7, 10)
    assert "--references 8" in caught.value.remedy


@pytest.mark.parametrize("wrong", [{"positives": 1.5}, {"positives": -0.1}, {"size": 8}, {"size": 9999}, {"seed": -1}])
def test_values_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(BadInput):
        plan_of(5, 9, 5, **wrong)


@pytest.mark.parametrize("numbers", [(-1, 5, 5), (5, -1, 5), (5, 5, -1), (5, 200_000, 50_001), (1_000_001, 5, 5)])
def test_numbers_that_ids_cannot_hold_are_refused(numbers: tuple) -> None:
    with pytest.raises(BadInput):
        plan_of(*numbers)
