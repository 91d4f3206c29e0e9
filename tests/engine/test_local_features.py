import numpy as np
import torch

from isckit import config
from isckit.data.image_sets import open_folder
from isckit.engine.distributed import Process
from isckit.engine.local_features import describe_locally, nearest_words, reduced
from isckit.models.network import EmbeddingNetwork
from isckit.types import Role

SETTINGS = config.Network(
    backbone=config.Backbone(name="test_resnet", cut="last_stage"),
    head=config.Head(bias=True, norm=False),
    dim=12,
    pooling="attention",
)


def test_the_longer_side_is_reduced_and_never_enlarged():
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    assert reduced(image, 90) is image and reduced(image, 1000) is image
    assert reduced(image, 45).shape == (30, 45, 3)
    assert reduced(image.transpose(1, 0, 2), 45).shape == (45, 30, 3)
    assert reduced(image[:1], 9).shape == (1, 9, 3)


def test_nearest_words_are_those_of_the_least_distance():
    rng = np.random.default_rng(1)
    features, words = rng.normal(size=(3000, 8)).astype("f4"), (3 * rng.normal(size=(50, 8))).astype("f4")
    expected = np.argsort(((features[:, None] - words) ** 2).sum(-1), axis=1)[:, :4]
    found = nearest_words(torch.from_numpy(features), torch.from_numpy(words), k=4)
    np.testing.assert_array_equal(found, expected)


def test_the_features_of_an_image_do_not_depend_on_the_others_nor_on_workers(mini):
    images = open_folder(mini / "images" / "references", Role.REFERENCE)
    torch.manual_seed(1)
    network = EmbeddingNetwork(SETTINGS).eval()

    def features(rows, workers):
        found = describe_locally(
            network, images, rows=rows, scales=(1.0, 0.5), longest=64, count=20,
            process=Process(torch.device("cpu")), workers=workers,
        )  # fmt: skip
        return {row: part for row, part, reason in found if not reason}

    whole = features(np.arange(8), 0)
    assert list(whole) == list(range(8))
    for rows, workers in ((np.array([5, 2]), 0), (np.arange(8), 1)):
        some = features(rows, workers)
        assert list(some) == rows.tolist() and all(torch.equal(some[row], whole[row]) for row in some)
