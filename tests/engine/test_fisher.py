import json

import numpy as np
import pytest
import torch

from isckit import config
from isckit.data.image_sets import open_folder
from isckit.engine.distributed import Process
from isckit.engine.fisher import fit_fisher
from isckit.models.fisher import SIFT, FisherDescriber
from isckit.runs.artifacts import ids_digest
from isckit.runs.workspace import METRICS
from isckit.types import WHOLE, BadInput, Role, RuleViolation, StaleArtifact
from isckit.views.geometry import View

SETTINGS = config.Fisher(
    keypoints=config.Keypoints(short_side=96, points=100, least=1), words=6, reduced=10, dim=12, fit_images=40
)
CPU = Process(torch.device("cpu"))


def fitted(folder, images, settings=SETTINGS, *, seed=1, workers=0):
    return fit_fisher(settings, images, seed=seed, folder=folder, process=CPU, workers=workers)


@pytest.fixture(scope="module")
def train(mini):
    return open_folder(mini / "images" / "train", Role.TRAIN)


@pytest.fixture(scope="module")
def describer(train, tmp_path_factory):
    made = FisherDescriber(config.replace(SETTINGS, fit_images=48))
    made.load_state_dict(fitted(tmp_path_factory.mktemp("fit"), train, made.settings))
    return made


@pytest.fixture(scope="module")
def prepared(train, describer):
    from isckit.data.images import decode

    pictures = [decode(train.read(row), name=str(row)) for row in range(len(train))]
    return torch.from_numpy(np.stack([describer.prepare(picture, (View(WHOLE),)) for picture in pictures]))


def test_descriptors_are_reduced_as_by_their_principal_components(describer, prepared):
    values = prepared[..., :SIFT][(prepared[..., :SIFT] > 0).any(-1)].double().numpy() / 255
    np.testing.assert_allclose(describer.mean, values.mean(0), atol=1e-6)
    reduced = (values - values.mean(0)) @ describer.axes.double().numpy()
    largest = np.linalg.eigvalsh(np.cov(values, rowvar=False))[::-1][:10]
    np.testing.assert_allclose(np.cov(reduced, rowvar=False), np.diag(np.sqrt(largest)), atol=1e-4)


def test_the_mixture_is_a_stationary_point_of_the_likelihood(describer, prepared):
    x, posterior = describer._soft(prepared[..., :SIFT], mirror=False)
    there = (prepared[..., :SIFT] > 0).any(-1)
    x, posterior = x[there].double(), posterior[there].double()
    shares = posterior.mean(0)
    np.testing.assert_allclose(describer.shares, shares, atol=0.03)
    means = posterior.T @ x / posterior.sum(0)[:, None]
    assert (describer.means - means).abs().max() < 0.1 * x.std()


def test_whitened_vectors_of_the_train_images_are_uncorrelated(describer, prepared):
    raw = describer.fisher_vectors(prepared, range(len(prepared)), [View(WHOLE)] * len(prepared))
    projected = ((raw - describer.centre) @ describer.components).double().numpy()
    np.testing.assert_allclose(projected.mean(0), 0, atol=1e-5)
    covariance = np.cov(projected, rowvar=False)
    np.testing.assert_allclose(covariance / covariance[0, 0], np.eye(12), atol=1e-3)


def test_fits_are_repeated_to_the_byte_and_not_done_twice(train, tmp_path):
    first, second = fitted(tmp_path / "a", train), fitted(tmp_path / "b", train, workers=1)
    assert all(torch.equal(first[key], second[key]) for key in first)
    before = (tmp_path / "a" / "fitted.safetensors").stat().st_mtime_ns
    fitted(tmp_path / "a", train)
    assert (tmp_path / "a" / "fitted.safetensors").stat().st_mtime_ns == before
    other = fitted(tmp_path / "c", train, seed=2)
    assert not torch.equal(first["means"], other["means"])
    with pytest.raises(StaleArtifact, match="settings"):
        fitted(tmp_path / "a", train, config.replace(SETTINGS, words=5))


def test_the_images_are_written_down(train, tmp_path):
    fitted(tmp_path, train)
    (line,) = (tmp_path / METRICS).read_text().splitlines()
    (role, record), *others = json.loads(line)["consumed"].items()
    assert role == "train" and not others
    assert json.loads(line)["seconds"] > 0  # the manifest counts what a run cost
    assert (record["draws"], record["images"], record["augmented"]) == (40, 40, False)
    chosen = np.sort(np.random.default_rng(1).permutation(48)[:40])
    assert record["ids"] == ids_digest(train.ids[chosen])


def test_queries_and_references_are_refused(mini, tmp_path):
    for name, role in (("queries", Role.QUERY), ("references", Role.REFERENCE)):
        images = open_folder(mini / "images" / name, role)
        with pytest.raises(RuleViolation, match="train or external"):
            fitted(tmp_path, images)


def test_too_few_images_and_points_are_refused(train, tmp_path):
    with pytest.raises(BadInput, match="more images than dimensions"):
        fitted(tmp_path, train.subset(np.arange(12)))
    with pytest.raises(BadInput, match="directions"):
        fitted(tmp_path / "b", train, config.replace(SETTINGS, words=2, reduced=5, dim=11))
