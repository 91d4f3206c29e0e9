import numpy as np
import pytest
import torch

from isckit import config
from isckit.augment.geometry import square
from isckit.data.image_sets import open_folder
from isckit.data.images import decode
from isckit.data.training import TrainingData, stage_images
from isckit.engine.distributed import Process
from isckit.engine.whitening import whiten, whitening
from isckit.models.network import EmbeddingNetwork
from isckit.models.pooling import smoothed
from isckit.types import BadInput, Role

STAGE = config.Stage(batch_images=10, image_size=64, views=("weak",), on_device="")
SETTINGS = config.Network(
    backbone=config.Backbone(name="test_resnet", cut="last_stage"),
    head=config.Head(bias=True, norm=False, whitened=True),
    dim=6,
    pooling="attention",
    image_size=64,
    canvas=64,
    stages=(STAGE,),
)


def sums(x):
    ones = np.column_stack([x, np.ones(len(x))])
    return torch.from_numpy(ones.T @ ones)


def test_whitened_features_have_mean_zero_and_unit_covariance():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(500, 9)) @ rng.normal(size=(9, 9)) + 5 * rng.normal(size=9)
    weight, bias = whitening(sums(x), dim=4)
    out = x @ weight.numpy().T + bias.numpy()
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(out.T, bias=True), np.eye(4), atol=1e-4)
    top = np.linalg.eigh(np.cov(x.T, bias=True))[1][:, -4:]
    rows = weight.double().numpy()
    np.testing.assert_allclose(rows @ top @ top.T, rows, atol=1e-5)  # they lie in the span of the largest


def test_features_that_vary_in_fewer_directions_are_refused():
    x = np.random.default_rng(2).normal(size=(100, 3)) @ np.random.default_rng(3).normal(size=(3, 9))
    with pytest.raises(BadInput, match="3 dimensions, to be whitened to 4"):
        whitening(sums(x), dim=4)


def test_a_network_is_whitened_on_its_train_images_and_every_time_alike(mini):
    train = open_folder(mini / "images" / "train", Role.TRAIN)
    images = stage_images(TrainingData(train), STAGE.data)
    networks = []
    for _ in range(2):
        torch.manual_seed(2)
        network = EmbeddingNetwork(SETTINGS).train()
        whiten(network, STAGE, images, seed=1, process=Process(torch.device("cpu")), workers=0)
        networks.append(network)
    first, second = (network.head.fc.state_dict() for network in networks)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert networks[0].training and not networks[0].head.fc.weight.requires_grad
    pictures = [square(decode(train.read(i), name=""), 64) for i in range(len(train))]
    batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    with torch.no_grad():
        maps = smoothed(networks[0].eval().outputs(batch).features)
        out = networks[0].head.fc(maps.flatten(2).transpose(1, 2).reshape(-1, maps.shape[1])).double()
    # The last of the whole batches begins anew, so two of 48 images count twice.
    np.testing.assert_allclose(out.mean(0), 0, atol=0.15)
    np.testing.assert_allclose(np.cov(out.T.numpy()), np.eye(6), atol=0.15)
