import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.mixture import GaussianMixture

from isckit import config
from isckit.features.kinds import feature_of
from isckit.features.sift import mirrored_descriptors
from isckit.models.fisher import SIFT, FisherDescriber
from isckit.synthetic.procedural import picture
from isckit.types import WHOLE
from isckit.views.geometry import View, view_set


def extract(image, settings):
    (points,) = feature_of(settings).detect([image])
    return points


SETTINGS = config.Fisher(keypoints=config.Keypoints(short_side=120, points=150, least=1), words=5, reduced=7, dim=9)
VIEWS = view_set(("mirror", "rotations", "centre", "quarters"))


@pytest.fixture(scope="module")
def describer():
    """A describer with random values for what is fitted."""
    rng = np.random.default_rng(4)
    made = FisherDescriber(SETTINGS)
    values = {
        "mean": rng.uniform(0.03, 0.12, SIFT),
        "axes": np.linalg.qr(rng.normal(size=(SIFT, 7)))[0] * 3,
        "shares": rng.dirichlet(np.ones(5) * 4),
        "means": rng.normal(size=(5, 7)) * 0.4,
        "deviations": rng.uniform(0.3, 0.8, (5, 7)),
        "centre": rng.normal(size=35) * 0.05,
        "components": rng.normal(size=(35, 9)),
    }
    made.load_state_dict({name: torch.from_numpy(value).float() for name, value in values.items()})
    return made


@pytest.fixture(scope="module")
def pictures():
    return [picture(seed, size=(160, 200)) for seed in range(3)]


def prepared(describer, pictures):
    return torch.from_numpy(np.stack([describer.prepare(image, (View(WHOLE),)) for image in pictures]))


def twin(describer, descriptors):
    """The Fisher vector of (n, 128) descriptors, point by point, with sklearn's posterior."""
    parts = {name: value.double().numpy() for name, value in describer.state_dict().items()}
    mixture = GaussianMixture(5, covariance_type="diag")
    mixture.weights_, mixture.means_, mixture.covariances_ = parts["shares"], parts["means"], parts["deviations"] ** 2
    mixture.precisions_cholesky_ = 1 / parts["deviations"]
    total = np.zeros((5, 7))
    for descriptor in descriptors:
        x = (descriptor / 255.0 - parts["mean"]) @ parts["axes"]
        for word, share in enumerate(mixture.predict_proba(x[None])[0]):
            total[word] += (
                share * (x - parts["means"][word]) / parts["deviations"][word] / np.sqrt(parts["shares"][word])
            )
    flat = np.sign(total.ravel()) * np.sqrt(np.abs(total.ravel()))
    flat /= np.linalg.norm(flat)
    vector = (flat - parts["centre"]) @ parts["components"]
    return vector / np.linalg.norm(vector)


def test_the_vector_is_that_of_its_definition(describer, pictures):
    found = describer.embed(prepared(describer, pictures), (View(WHOLE),))[:, 0]
    for image, vector in zip(pictures, found, strict=True):
        points = extract(image, SETTINGS.keypoints)
        assert len(points) > 30
        np.testing.assert_allclose(vector, twin(describer, points.descriptors), atol=2e-5)


def test_a_view_is_the_points_inside_its_window(describer, pictures):
    view = View("part", (0.25, 0.1, 0.5, 0.6))
    points = extract(pictures[0], SETTINGS.keypoints)
    x, y = points.frames[:, 0] / 150, points.frames[:, 1] / 120
    inside = (x >= 0.1) & (x <= 0.7) & (y >= 0.25) & (y <= 0.75)
    assert 5 < inside.sum() < len(points)
    found = describer.embed(prepared(describer, pictures[:1]), (view,))[0, 0]
    np.testing.assert_allclose(found, twin(describer, points.descriptors[inside]), atol=2e-5)


def test_a_turn_changes_nothing_and_a_mirror_is_that_of_the_mirrored_picture(describer, pictures):
    whole, turned, mirrored = (
        describer.embed(prepared(describer, pictures), (view,))[:, 0]
        for view in (View(WHOLE), View("turn90", turns=1), View("mirror", mirror=True))
    )
    np.testing.assert_array_equal(whole, turned)
    for image, vector in zip(pictures, mirrored, strict=True):
        points = extract(image, SETTINGS.keypoints)
        np.testing.assert_allclose(vector, twin(describer, mirrored_descriptors(points.descriptors)), atol=2e-5)
    again = describer.embed(prepared(describer, [image[:, ::-1].copy() for image in pictures]), (View(WHOLE),))[:, 0]
    # Points of a mirrored picture are found anew, so that they agree but for a few.
    assert ((mirrored - again).norm(dim=1) < 0.8 * (mirrored - whole).norm(dim=1)).all()


def test_views_together_and_one_by_one_are_the_same(describer, pictures):
    table = prepared(describer, pictures)
    together = describer.embed(table, VIEWS)
    owners, views = [2, 0, 0, 1], [VIEWS[4], VIEWS[1], VIEWS[0], VIEWS[-1]]
    found = describer.embed_found(table, owners, views)
    for vector, owner, view in zip(found, owners, views, strict=True):
        np.testing.assert_allclose(vector, together[owner, VIEWS.index(view)], atol=1e-6)


def test_a_picture_without_points_has_a_direction_too(describer):
    flat = np.full((80, 90, 3), 130, np.uint8)
    table = prepared(describer, [flat])
    assert not table.any()
    vector = describer.embed(table, (View(WHOLE), VIEWS[4]))[0]
    np.testing.assert_allclose(vector.norm(dim=-1), 1, atol=1e-6)
    np.testing.assert_allclose(vector[0], vector[1], atol=1e-6)  # rows of a product may round otherwise


def test_only_the_strongest_sift_points_will_do():
    with pytest.raises(ValidationError, match="points above 0"):
        config.Fisher(keypoints=config.Keypoints(kind="orb", points=100))
    with pytest.raises(ValidationError, match="points above 0"):
        config.Fisher(keypoints=config.Keypoints(points=0))
