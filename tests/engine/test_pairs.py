import numpy as np
import pytest
import torch

from isckit import config
from isckit.augment.geometry import square
from isckit.data.images import decode
from isckit.engine import pairs as scoring
from isckit.engine.distributed import Process
from isckit.engine.pairs import score_pairs
from isckit.models.pair import PairClassifier
from isckit.types import StaleArtifact
from isckit.views.geometry import cut, view_set

CPU = Process(torch.device("cpu"))
VIEWS = view_set(("pair_views",))
PICTURE = config.PairNetwork(backbone=config.Backbone(name="test_vit"), image_size=32, canvas=64)
TOKENS = config.replace(PICTURE, name="tokens", backbone=config.Backbone(name="test_resnet"), tokens=8, grey=True)


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    return [PairClassifier(settings).eval() for settings in (PICTURE, TOKENS)]


def asked(queries=16, references=24, count=60, seed=0):
    rng = np.random.default_rng(seed)
    rows = np.column_stack([rng.integers(n, size=count) for n in (queries, references, len(VIEWS))])
    return np.unique(rows, axis=0)


def score(disc, folder, networks, rows, *, batch=32, made_from="a", workers=0):
    return score_pairs(
        networks, disc.queries, disc.references, rows, views=VIEWS, folder=folder, made_from={"a": made_from},
        settings=config.Extract(batch_images=batch), process=CPU, workers=workers,
    )  # fmt: skip


@torch.inference_mode()
def one_by_one(disc, networks, rows):
    def picture(images, row):
        pixels = square(decode(images.read(row), name="x"), 64)
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None]

    return np.array([
        [
            float(network(picture(disc.references, r), cut(picture(disc.queries, q), VIEWS[v])).sigmoid())
            for network in networks
        ]
        for q, r, v in rows.tolist()
    ])  # fmt: skip


def test_scores_are_those_of_each_pair_by_itself(disc, tmp_path, networks):
    rows = asked()
    np.testing.assert_allclose(score(disc, tmp_path, networks, rows), one_by_one(disc, networks, rows), atol=1e-5)


@pytest.mark.parametrize(("block", "chunk", "batch"), [(3, 5, 1), (1024, 2, 7), (5, 128, 64)])
def test_blocks_chunks_and_batches_change_nothing_but_rounding(
    disc, tmp_path, networks, monkeypatch, block, chunk, batch
):
    rows = asked()
    usual = score(disc, tmp_path / "usual", networks, rows)
    monkeypatch.setattr(scoring, "QUERY_BLOCK", block)
    monkeypatch.setattr(scoring, "REFERENCE_CHUNK", chunk)
    np.testing.assert_allclose(score(disc, tmp_path / "other", networks, rows, batch=batch), usual, atol=1e-5)


def test_other_pairs_beside_a_pair_change_nothing_but_rounding(disc, tmp_path, networks):
    rows = asked()
    whole, some = score(disc, tmp_path / "a", networks, rows), np.arange(len(rows)) % 7 == 2
    np.testing.assert_allclose(score(disc, tmp_path / "b", networks, rows[some]), whole[some], atol=1e-5)


def test_each_image_is_decoded_once_a_block(disc, tmp_path, networks, monkeypatch):
    seen = []
    honest = scoring._Squares.__getitem__

    def spy(self, position):
        seen.append((self.images.name, int(self.rows[position])))
        return honest(self, position)

    monkeypatch.setattr(scoring._Squares, "__getitem__", spy)
    score(disc, tmp_path, networks, asked())
    assert (
        len(seen) == len(set(seen)) == 40 - (24 - len(np.unique(asked()[:, 1]))) - (16 - len(np.unique(asked()[:, 0])))
    )


def test_an_interrupted_scoring_goes_on_and_stale_scores_are_refused(disc, tmp_path, networks, monkeypatch):
    monkeypatch.setattr(scoring, "QUERY_BLOCK", 4)
    rows = asked()
    whole = score(disc, tmp_path / "whole", networks, rows)
    honest, done = scoring._Scorer.block, []

    def block(self, some, bar):
        done.append(len(some))
        if len(done) == 3:
            raise KeyboardInterrupt
        return honest(self, some, bar)

    monkeypatch.setattr(scoring._Scorer, "block", block)
    with pytest.raises(KeyboardInterrupt):
        score(disc, tmp_path / "stopped", networks, rows)
    np.testing.assert_array_equal(score(disc, tmp_path / "stopped", networks, rows), whole)
    assert len(done) == 3 + 2
    with pytest.raises(StaleArtifact):
        score(disc, tmp_path / "stopped", networks, rows, made_from="b")


def test_nothing_asked_is_nothing_scored(disc, tmp_path, networks):
    assert score(disc, tmp_path, networks, np.empty((0, 3), np.int64)).shape == (0, 2)
