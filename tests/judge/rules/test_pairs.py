import pytest
from spoiled import case_of, caught_by, change_recipe, consume

from isckit.judge.rules.training import public_pairs, seen_queries
from isckit.types import BadInput


@pytest.mark.parametrize("phase", [1, 2])
def test_a_run_on_train_images_alone_passes_and_saw_no_query(done, phase):
    finding = public_pairs(case_of(done, phase=phase))
    assert (finding.status, finding.level, finding.detail) == ("passed", "declared", "")
    assert "2 epochs in 1 training logs" in finding.examined
    assert seen_queries(done / "checkpoints/run").tolist() == []


def test_public_pairs_are_tolerated_and_the_scored_queries_among_them_are_counted(copy, disc):
    consume(copy, "query", ["Q00003", "Q00001", "Q00400"])
    finding = public_pairs(case_of(copy, disc=disc))
    assert finding.status == "passed"
    assert "member network trained on query images, which is tolerated" in finding.detail
    assert "2 of 16 scored queries were trained on: their scores are labelled seen" in finding.detail
    assert seen_queries(copy / "checkpoints/run").tolist() == ["Q00001", "Q00003", "Q00400"]
    assert "0 of 16 scored" in public_pairs(case_of(copy, phase=2, disc=disc)).detail
    assert "scores on 3 queries are training scores" in public_pairs(case_of(copy)).detail


def test_references_are_tolerated_and_are_no_seen_queries(copy):
    consume(copy, "reference", ["R000001"])
    finding = public_pairs(case_of(copy))
    assert finding.status == "passed" and "trained on reference images" in finding.detail
    assert len(seen_queries(copy / "checkpoints/run")) == 0


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["Q00001", "Q25000", "Q49999"], "2 queries of the half of phase 1 without public labels: Q25000, Q49999"),
        (["Q24999", "Q50000"], "1 queries of phase 2: Q50000"),
    ],
)
def test_hidden_labels_are_caught_by_this_rule_alone(copy, disc, ids, words):
    consume(copy, "query", ids)
    assert caught_by(case_of(copy, disc=disc)) == {"public_pairs"}
    assert f"member network, epoch 1: {words}" in public_pairs(case_of(copy)).detail


def test_the_last_public_query_is_public(copy):
    consume(copy, "query", ["Q24999"])
    assert public_pairs(case_of(copy)).status == "passed"


@pytest.mark.parametrize("role", ["query", "reference"])
def test_ids_that_are_not_listed_fail(copy, role):
    consume(copy, role, ["Q00001"], listed=None)
    assert f"1 {role} images without a list of their ids" in public_pairs(case_of(copy)).detail
    assert public_pairs(case_of(copy)).status == "failed"


@pytest.mark.parametrize("change", [{"images": 2}, {"ids": "0" * 64}])
def test_a_list_that_is_not_of_what_was_drawn_fails(copy, change):
    consume(copy, "query", ["Q00001"], **change)
    assert "are not the" in public_pairs(case_of(copy)).detail


def test_augmented_queries_are_the_business_of_another_rule(copy, disc):
    consume(copy, "query", ["Q50000"], augmented=True, listed=None)
    assert public_pairs(case_of(copy)).status == "passed"
    assert caught_by(case_of(copy, disc=disc)) == {"no_augmentation"}


def test_of_installed_weights_nothing_is_known(copy):
    (copy / "checkpoints/run/training/network/metrics.jsonl").unlink()
    assert public_pairs(case_of(copy)).status == "unknown"
    change_recipe(copy, lambda recipe: recipe["members"].pop(0))
    assert public_pairs(case_of(copy)).status == "passed"  # GIST learns nothing


def test_a_log_that_is_none_is_refused(copy):
    (copy / "checkpoints/run/training/network/metrics.jsonl").write_text('{"epoch": 1}\n')
    with pytest.raises(BadInput, match="line 1 is none that this kit writes"):
        seen_queries(copy / "checkpoints/run")
