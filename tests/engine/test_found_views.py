"""Views that differ from image to image: their rows equal those of crops made one by one, whatever is interrupted."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from isckit import config
from isckit.config import Extract
from isckit.data.image_sets import open_folder
from isckit.engine.describe import Target, extract
from isckit.engine.distributed import Process
from isckit.models.gist import GistDescriber
from isckit.models.network import EmbeddingNetwork
from isckit.runs.embeddings import read_shards
from isckit.runs.steps import Output
from isckit.types import BadInput, Embeddings, Role
from isckit.views.geometry import view_set
from isckit.views.table import ImageFinding, Wanted, table_of

CPU = Process(torch.device("cpu"))
SMALL = config.Network(backbone=config.Backbone(name="test_resnet"), dim=16, image_size=32, canvas=64, stages=())
COUNTS = (2, 0, 3, 1, 0, 2, 3)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Seven noisy PNGs of several sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for k in range(len(COUNTS)):
        coarse = rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((70 + 9 * k, 50 + 5 * k)).save(folder / f"Q{k}.png")
    return open_folder(folder, Role.QUERY)


@pytest.fixture(scope="module")
def table(images):
    rng = np.random.default_rng(1)
    found = [
        ImageFinding((50, 70), np.concatenate([rng.uniform(0, 0.5, (n, 2)), rng.uniform(0.1, 0.5, (n, 2))], axis=1))
        for n in COUNTS
    ]
    return table_of(images.ids, found)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return EmbeddingNetwork(SMALL).eval()


FOUND = Wanted(view_set(("mirror",)), config.Proposals(most=3))
FIXED = Wanted(view_set(("quarters",)))


def pixels(images, k):
    return np.asarray(Image.open(images.where(k)))


def run(images, out, members, table, *, batch=3, shard=4, workers=0, wanted=(FOUND, FIXED), blur=(0.0, 0.0)):
    targets = [Target(member, wanted[k], blur[k]) for k, member in enumerate(members)]
    outputs = [Output(out / str(k), {"what": "test"}, ".h5") for k in range(len(members))]
    settings = Extract(batch_images=batch, shard_images=shard)
    extract(targets, outputs, images, settings=settings, process=CPU, workers=workers, table=table)
    return [Embeddings.joined(list(read_shards(output.path))) for output in outputs]


def test_each_found_view_is_the_network_on_its_crop_of_the_canvas(images, table, network, tmp_path):
    rows, _ = run(images, tmp_path, [network, GistDescriber()], table)
    names = [rows.view_names[k] for k in rows.views]
    expected = [name for n in COUNTS for name in ("whole", "mirror", *(f"proposal_0{k}" for k in range(n)))]
    assert names == expected
    assert rows.ids.tolist() == np.repeat(images.ids, [2 + n for n in COUNTS]).tolist()
    for k in range(len(COUNTS)):
        canvas = network.prepare(pixels(images, k), ())
        for number, (top, left, height, width) in enumerate(table.proposals_of(k)):
            t, l, b, r = (int(64 * v) for v in (top, left, top + height, left + width))  # noqa: E741
            crop = torch.from_numpy(canvas[:, t:b, l:r].copy())[None]
            with torch.inference_mode():
                vector = network._embed_view([crop])[0].numpy()
            at = next(
                i for i in range(len(names)) if rows.ids[i] == images.ids[k] and names[i] == f"proposal_0{number}"
            )
            assert np.allclose(rows.vectors[at], vector, atol=1e-5)


def test_each_found_view_is_the_crop_of_the_image_for_members_that_cut_in_the_worker(images, table, tmp_path):
    gist = GistDescriber()
    (rows,) = run(images, tmp_path, [gist], table, wanted=(FOUND,))
    at = 0
    for k in range(len(COUNTS)):
        image = pixels(images, k)
        height, width = image.shape[:2]
        crops = [image, image[:, ::-1]]
        for box in table.proposals_of(k):
            t, l = int(box[0] * height), int(box[1] * width)  # noqa: E741
            crops.append(image[t : int((box[0] + box[2]) * height), l : int((box[1] + box[3]) * width)])
        for crop in crops:
            alone = gist.prepare(np.ascontiguousarray(crop), view_set(()))
            vector = gist.embed(torch.from_numpy(alone)[None], view_set(()))[0, 0].numpy()
            assert np.allclose(rows.vectors[at], vector, atol=1e-5)
            at += 1
    assert at == len(rows.ids)


def test_members_have_views_of_their_own_under_common_names(images, table, network, tmp_path):
    found, fixed = run(images, tmp_path, [network, network], table)
    assert found.view_names == fixed.view_names and len(set(found.view_names)) == len(found.view_names)
    assert len(found.ids) == 2 * len(images) + sum(COUNTS) and len(fixed.ids) == 5 * len(images)
    common = [part.named(("whole",)) for part in (found, fixed)]
    assert np.array_equal(common[0].views, common[1].views)
    assert np.allclose(common[0].vectors, common[1].vectors, atol=1e-6)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_extraction_ends_in_the_same_bytes(images, table, network, tmp_path, workers):
    whole = tmp_path / "whole"
    members = [network, GistDescriber()]
    run(images, whole, members, table)
    cut = tmp_path / "cut"
    run(images, cut, members, table, workers=workers)
    (cut / "0" / "shard-00001.h5").unlink()
    (cut / "1" / "shard-00000.h5").unlink()
    for folder in ("0", "1"):
        receipt = cut / folder / "receipt.json"
        receipt.write_text(receipt.read_text().replace('"complete": true', '"complete": false'))
    run(images, cut, members, table)
    for path in sorted(whole.rglob("*.h5")):
        assert path.read_bytes() == (cut / path.relative_to(whole)).read_bytes()


def test_rows_do_not_depend_on_batches_and_shards(images, table, network, tmp_path):
    (one,) = run(images, tmp_path / "one", [network], table, wanted=(FOUND,))
    (other,) = run(images, tmp_path / "other", [network], table, wanted=(FOUND,), batch=1, shard=7)
    assert np.array_equal(one.ids, other.ids) and np.array_equal(one.views, other.views)
    assert np.allclose(one.vectors, other.vectors, atol=1e-5)


@pytest.mark.parametrize("role", list(Role))
def test_all_images_but_queries_are_blurred_at_their_own_size_for_members_that_ask(images, network, tmp_path, role):
    same = open_folder(images.sources[0].path, role)
    members, wanted = [network, network], (Wanted(), Wanted())
    plain, soft = run(same, tmp_path, members, None, wanted=wanted, blur=(0.0, 5.0))
    for k in range(len(same)):
        image = Image.open(same.where(k))
        for rows, blurs in ((plain, False), (soft, role is not Role.QUERY)):
            seen = image.filter(ImageFilter.GaussianBlur(5.0)) if blurs else image
            prepared = torch.from_numpy(network.prepare(np.asarray(seen), ()))[None]
            with torch.inference_mode():
                assert np.allclose(rows.vectors[k], network.embed(prepared, view_set(()))[0, 0].numpy(), atol=1e-5)
    assert np.allclose(plain.vectors, soft.vectors, atol=1e-4) == (role is Role.QUERY)


def test_broken_images_have_no_found_views(images, network, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "Q0.png").write_bytes(b"no picture")
    (folder / "Q1.png").write_bytes((images.sources[0].path / "Q1.png").read_bytes())
    spoiled = open_folder(folder, Role.QUERY)
    empty = ImageFinding((64, 64), np.empty((0, 4)))
    table = table_of(spoiled.ids, [empty, ImageFinding((55, 79), np.array([[0.0, 0.0, 0.5, 0.5]]))])
    settings = Extract(on_broken="replace")
    targets = [Target(network, FOUND), Target(GistDescriber(), FOUND)]
    outputs = [Output(tmp_path / name, {}, ".h5") for name in "ng"]
    extract(targets, outputs, spoiled, settings=settings, process=CPU, workers=0, table=table)
    for output in outputs:
        (rows,) = read_shards(output.path)
        assert rows.ids.tolist() == ["Q0", "Q0", "Q1", "Q1", "Q1"]
    with pytest.raises(BadInput, match="1 broken image"):
        extract(
            [Target(network, FOUND)],
            [Output(tmp_path / "s", {}, ".h5")],
            spoiled,
            settings=Extract(),
            process=CPU,
            workers=0,
            table=table,
        )
