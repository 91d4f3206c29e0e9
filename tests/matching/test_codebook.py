import numpy as np
import pytest

from isckit.matching.asmk import fit_codebook
from isckit.types import BadInput


def blobs(words=8, each=60):
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(words, 16)) * 10
    return np.repeat(centres, each, axis=0).astype(np.float32) + rng.normal(size=(words * each, 16)).astype("f4")


def test_a_word_is_the_mean_of_the_features_next_to_it():
    features = blobs()
    words = fit_codebook(features, words=8, seed=3)
    assert words.shape == (8, 16) and words.dtype == np.float32
    nearest = ((features[:, None] - words) ** 2).sum(-1).argmin(axis=1)
    means = [features[nearest == word].mean(axis=0) for word in range(8)]
    np.testing.assert_allclose(words, means, atol=1e-3)


def test_the_same_features_and_seed_give_the_same_words_and_another_seed_others():
    features = blobs()
    first, again, other = (fit_codebook(features.copy(), words=20, seed=seed) for seed in (3, 3, 4))
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_fewer_features_than_words_are_refused():
    with pytest.raises(BadInput, match="19 local features for 20 visual words"):
        fit_codebook(blobs()[:19], words=20, seed=1)
