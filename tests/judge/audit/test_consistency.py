from isckit.judge.audit.records import _described_from

MANIFEST = {
    "recipe": {"members": [{"name": "net"}], "extract": {"batch_images": 8}},
    "images": {"train": {"listing": "t"}, "references": {"listing": "r"}},
}


def test_points_of_train_may_be_those_of_a_part_of_it_and_all_else_is_of_whole_sets():
    assert _described_from(MANIFEST, "train/keypoints-1a2b", "w") == {}
    assert _described_from(MANIFEST, "references/keypoints-1a2b", "w") == {"images": "r"}
    assert _described_from(MANIFEST, "train/net", "w")["images"] == "t"
