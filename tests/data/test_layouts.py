"""Claims about finding and reading image sets: every layout met in practice, whole or in part, and every fault."""

import multiprocessing
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from isckit.data import containers
from isckit.data.images import BrokenImage
from isckit.data.layouts import LAYOUTS, ROLES, open_disc, open_folder, require
from isckit.types import BadInput, MissingInput, Role

IDS = {
    "train": ["T000000", "T050001", "T999999"],
    "references": ["R000000", "R000001", "R999999"],
    "queries": ["Q00000", "Q24999", "Q49999"],
    "final_queries": ["Q50000", "Q99999"],
}


def content(name: str) -> bytes:
    """Bytes that differ from file to file, in length too."""
    return (name * (2 + int(name[1:]) % 5)).encode()


def fill_folder(folder: Path, ids: list[str], *, suffix: str = ".jpg") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ids:
        (folder / (name + suffix)).write_bytes(content(name))
    return folder


def fill_zip(archive: Path, ids: list[str], *, prefix: str = "", method: int = zipfile.ZIP_STORED) -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", method) as opened:
        for name in ids:
            opened.writestr(f"{prefix}{name}.jpg", content(name))
    return archive


def assert_holds(disc, expected: dict[str, list[str]]) -> None:
    for name, role in ROLES.items():
        if name not in expected:
            assert getattr(disc, name) is None
            continue
        images = require(disc, name)
        assert (images.name, images.role, len(images)) == (name, role, len(expected[name]))
        assert images.ids.tolist() == sorted(expected[name])
        assert [images.read(i) for i in range(len(images))] == [content(image) for image in images.ids]


FOLDERS = {
    "isc2021": {"train": "train", "references": "references", "queries": "queries", "final_queries": "final_queries"},
    "contest": {
        "train": "training_images",
        "references": "reference_images",
        "queries": "query_images",
        "final_queries": "phase2_query_images",
    },
    "contest, other names": {
        "train": "train_images",
        "references": "reference_images",
        "queries": "query_images",
        "final_queries": "query_images_phase2",
    },
    "SSCD": {"train": "training", "references": "val_ref", "queries": "val_query"},
    "Meta": {
        "train": "train_50k_3",
        "references": "refs_50k_0",
        "queries": "dev_queries_50k_0",
        "final_queries": "test_queries_50k_0",
    },
    "public host": {
        "train": "train_19",
        "references": "references_0",
        "queries": "dev_queries",
        "final_queries": "final_queries",
    },
}


@pytest.mark.parametrize("below", ["", "images/"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("layout", FOLDERS)
def test_every_layout_is_recognised_as_folders_and_as_archives(tmp_path, layout, packed, below):
    for name, place in FOLDERS[layout].items():
        if packed:
            fill_zip(tmp_path / f"{below}{place}.zip", IDS[name])
        else:
            fill_folder(tmp_path / f"{below}{place}", IDS[name])
    disc = open_disc(tmp_path)
    assert disc.layout == layout.partition(",")[0]
    assert_holds(disc, {name: IDS[name] for name in FOLDERS[layout]})
    assert disc.problems == ()


@pytest.mark.parametrize("prefix", ["", "references/", "images/references/", "./"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_are_read_without_unpacking_whatever_folders_they_have_inside(tmp_path, prefix, method):
    for shard in (0, 1, 19):
        ids = [f"R{shard * 50_000 + i:06d}" for i in (0, 7, 49_999)]
        fill_zip(tmp_path / f"references_{shard}.zip", ids, prefix=prefix, method=method)
    before = sorted(tmp_path.rglob("*"))
    disc = open_disc(tmp_path)
    assert_holds(disc, {"references": [f"R{s * 50_000 + i:06d}" for s in (0, 1, 19) for i in (0, 7, 49_999)]})
    assert disc.problems == ()
    assert sorted(tmp_path.rglob("*")) == before


def test_queries_of_both_phases_in_one_folder_are_told_apart_by_their_numbers(tmp_path):
    fill_folder(tmp_path / "query_images", IDS["queries"] + IDS["final_queries"])
    fill_folder(tmp_path / "reference_images", IDS["references"])
    disc = open_disc(tmp_path)
    assert disc.layout == "CopyNCE"
    assert_holds(disc, {name: IDS[name] for name in ("queries", "final_queries", "references")})


def test_folders_and_archives_may_be_mixed_and_partial(tmp_path):
    fill_folder(tmp_path / "images" / "references", ["R000005"])
    fill_zip(tmp_path / "references_1.zip", ["R050000"])
    fill_zip(tmp_path / "refs_50k_2.ZIP", ["R100000"])
    fill_folder(tmp_path / "query_images", ["Q00001"])
    disc = open_disc(tmp_path)
    assert_holds(disc, {"references": ["R000005", "R050000", "R100000"], "queries": ["Q00001"]})
    assert set(disc.layout.split(" + ")) == {"isc2021", "public host", "Meta", "contest"}


def test_unpacked_shards_with_folders_or_archives_inside_are_searched(tmp_path):
    fill_folder(tmp_path / "refs_50k_0" / "references", ["R000001"])
    fill_folder(tmp_path / "references" / "00" / "01", ["R000002"])
    fill_zip(tmp_path / "references" / "part.zip", ["R000003"])
    disc = open_disc(tmp_path)
    assert_holds(disc, {"references": ["R000001", "R000002", "R000003"]})
    assert disc.problems == ()


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg", ".Jpeg", ".png", ".PNG"])
def test_extensions_in_any_case_are_read(tmp_path, suffix):
    fill_folder(tmp_path / "queries", ["Q00003"], suffix=suffix)
    assert_holds(open_disc(tmp_path), {"queries": ["Q00003"]})


def test_foreign_files_are_reported_and_those_of_the_system_ignored(tmp_path):
    folder = fill_folder(tmp_path / "queries", ["Q00003"])
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._Q00003.jpg"):
        (folder / name).write_bytes(b"x")
    with zipfile.ZipFile(fill_zip(tmp_path / "train_0.zip", ["T000000"]), "a") as opened:
        opened.writestr("__MACOSX/train/._T000000.jpg", b"x")
        opened.writestr("train/.DS_Store", b"x")
    assert open_disc(tmp_path).problems == ()
    foreign = ["Q1234.jpg", "q00004.jpg", "Q00004.jpg.part", "Q00004.gif", "Q000045.jpg", "notes.txt"]
    for name in foreign:
        (folder / name).write_bytes(b"x")
    disc = open_disc(tmp_path)
    assert_holds(disc, {"queries": ["Q00003"], "train": ["T000000"]})
    (problem,) = disc.problems
    assert problem.startswith(f"{len(foreign)} files")
    assert str(folder / "Q00004.gif") in problem


@pytest.mark.parametrize(
    ("folder", "stray", "refused"),
    [
        ("queries", "R000001", "queries"),
        ("references", "Q00001", "references"),
        ("train", "R000007", "train"),
        ("final_queries", "Q00001", "final_queries"),
        ("references", "T000001", "references"),
    ],
)
def test_an_image_in_the_folder_of_another_set_is_refused(tmp_path, folder, stray, refused):
    for name, ids in IDS.items():
        fill_folder(tmp_path / name, ids)
    fill_folder(tmp_path / folder, [stray])
    disc = open_disc(tmp_path)
    with pytest.raises(BadInput, match=stray):
        require(disc, refused)
    assert any(stray in problem for problem in disc.problems)
    for other in set(IDS) - {refused}:
        assert require(disc, other).ids.tolist() == sorted(IDS[other])


def test_an_id_with_two_extensions_is_refused_and_both_files_named(tmp_path):
    fill_folder(tmp_path / "references", ["R000001", "R000002"])
    fill_folder(tmp_path / "references", ["R000002"], suffix=".png")
    disc = open_disc(tmp_path)
    assert disc.references.ids.tolist() == ["R000001", "R000002"]
    with pytest.raises(BadInput) as caught:
        require(disc, "references")
    assert "R000002.jpg" in caught.value.seen
    assert "R000002.png" in caught.value.seen


def test_an_id_in_two_archives_or_two_folders_is_refused(tmp_path):
    fill_zip(tmp_path / "train_0.zip", ["T000001", "T000002"])
    fill_zip(tmp_path / "train_1.zip", ["T000002"])
    fill_folder(tmp_path / "queries", ["Q00001"])
    fill_folder(tmp_path / "images" / "queries", ["Q00001"])
    disc = open_disc(tmp_path)
    for name, seen in (("train", "train_1.zip/T000002.jpg"), ("queries", "images/queries/Q00001.jpg")):
        with pytest.raises(BadInput, match="lie twice") as caught:
            require(disc, name)
        assert seen in caught.value.seen


def test_of_an_archive_and_its_unpacked_folder_the_folder_is_read(tmp_path):
    fill_zip(tmp_path / "dev_queries.zip", ["Q00001", "Q00002"])
    (fill_folder(tmp_path / "queries", ["Q00001"]) / "Q00001.jpg").write_bytes(b"unpacked")
    disc = open_disc(tmp_path)
    images = require(disc, "queries")
    assert [images.read(0), images.read(1)] == [b"unpacked", content("Q00002")]
    (problem,) = disc.problems
    assert problem.startswith("1 queries images lie in a folder")


@pytest.mark.parametrize("keep", [0, 50, -30])
def test_a_set_with_a_truncated_archive_is_refused(tmp_path, keep):
    fill_zip(tmp_path / "references_0.zip", ["R000001"])
    archive = fill_zip(tmp_path / "references_1.zip", ["R050001", "R050002"])
    archive.write_bytes(archive.read_bytes()[:keep])
    disc = open_disc(tmp_path)
    assert disc.references.ids.tolist() == ["R000001"]
    with pytest.raises(BadInput, match=r"references_1\.zip is broken"):
        require(disc, "references")


def test_a_folder_that_does_not_exist_is_missing(tmp_path):
    with pytest.raises(MissingInput, match="nowhere"):
        open_disc(tmp_path / "nowhere")
    with pytest.raises(MissingInput, match="nowhere"):
        open_folder(tmp_path / "nowhere", Role.EXTERNAL)


@pytest.mark.parametrize("name", ROLES)
def test_a_missing_set_is_named_with_what_was_found_and_every_place_it_may_have(tmp_path, name):
    fill_folder(tmp_path / "my_pictures", ["Q00001"])
    with pytest.raises(MissingInput) as caught:
        require(open_disc(tmp_path), name)
    assert "my_pictures" in caught.value.seen
    assert all(place in caught.value.allowed for layout in LAYOUTS.values() for place in layout.get(name, ()))


def test_an_empty_folder_is_a_problem_not_a_set(tmp_path):
    assert "empty" in open_disc(tmp_path).problems[0]
    (tmp_path / "queries").mkdir()
    disc = open_disc(tmp_path)
    assert disc.queries is None
    assert f"{tmp_path / 'queries'} holds no image" in disc.problems
    with pytest.raises(MissingInput):
        require(disc, "queries")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["public_ground_truth.csv"], {1: "public_ground_truth.csv"}),
        (["list_files/public_ground_truth.csv"], {1: "list_files/public_ground_truth.csv"}),
        (["public_ground_truth.csv", "list_files/dev_ground_truth.csv"], {1: "list_files/dev_ground_truth.csv"}),
        (
            ["public_ground_truth.csv", "dev_queries_groundtruth.csv", "test_queries_groundtruth.csv"],
            {1: "dev_queries_groundtruth.csv", 2: "test_queries_groundtruth.csv"},
        ),
        (["final_ground_truth.csv"], {2: "final_ground_truth.csv"}),
        (["../dev_ground_truth.csv"], {1: "../dev_ground_truth.csv"}),
        (["../list_files/final_ground_truth.csv"], {2: "../list_files/final_ground_truth.csv"}),
        (["public_ground_truth.csv", "../dev_ground_truth.csv"], {1: "public_ground_truth.csv"}),
        (["subset_1_ground_truth.csv"], {}),
    ],
)
def test_ground_truth_is_found_under_its_names_whole_before_half_and_near_before_far(tmp_path, files, expected):
    root = tmp_path / "images"
    fill_folder(root / "queries", ["Q00001"])
    for file in files:
        (root / file).parent.mkdir(exist_ok=True)
        (root / file).write_text("Q00001,\n")
    found = open_disc(root).ground_truth
    assert {phase: path.resolve() for phase, path in found.items()} == {
        phase: (root / path).resolve() for phase, path in expected.items()
    }


@pytest.fixture
def twins(tmp_path):
    """The same 300 references as a folder and as two archives."""
    ids = [f"R{i * 7:06d}" for i in range(300)]
    fill_folder(tmp_path / "a" / "references", ids)
    fill_zip(tmp_path / "b" / "references_0.zip", ids[100:], prefix="references/", method=zipfile.ZIP_DEFLATED)
    fill_zip(tmp_path / "b" / "references_1.zip", ids[:100])
    return tuple(require(open_disc(tmp_path / side), "references") for side in "ab")


def test_a_folder_and_its_archives_are_one_set(twins):
    folder, packed = twins
    assert folder.ids.tolist() == packed.ids.tolist() == sorted(folder.ids.tolist())
    assert [folder.read(i) for i in range(300)] == [packed.read(i) for i in range(300)]
    assert folder.content_digest() == packed.content_digest()


def test_the_content_digest_sees_ids_and_sizes(twins, tmp_path):
    folder, packed = twins
    before = folder.content_digest()
    assert folder.subset(np.arange(299)).content_digest() != before
    assert folder.subset(np.arange(299)).content_digest() == packed.subset(np.arange(299)).content_digest()
    path = Path(folder.where(17))
    path.write_bytes(path.read_bytes() + b"x")
    assert folder.content_digest() != before


def test_subset_takes_masks_and_rows(twins):
    for images in twins:
        rows = np.array([3, 50, 299])
        mask = np.isin(np.arange(300), rows)
        for part in (images.subset(rows), images.subset(mask)):
            assert part.ids.tolist() == images.ids[rows].tolist()
            assert [part.read(i) for i in range(3)] == [images.read(i) for i in rows]
            assert (part.name, part.role) == (images.name, images.role)


def test_a_set_pickles_small_and_reads_the_same(twins):
    for images in twins:
        data = pickle.dumps(images)
        assert len(data) < 100 * len(images) + 2000
        copy = pickle.loads(data)
        assert copy.ids.tolist() == images.ids.tolist()
        assert copy.read(123) == images.read(123)


def wrong_reads(images, rows):
    return [i for i in rows if images.read(i) != content(str(images.ids[i]))]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_read_one_archive_at_the_same_time(twins, method):
    _, packed = twins
    packed.read(0)
    rows = np.random.default_rng(0).permutation(np.repeat(np.arange(300), 4))
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.starmap(wrong_reads, [(packed, part) for part in np.array_split(rows, 8)]) == [[]] * 8


def test_threads_read_one_archive_at_the_same_time(twins):
    _, packed = twins
    rows = np.random.default_rng(0).permutation(np.repeat(np.arange(300), 8))
    with ThreadPoolExecutor(8) as pool:
        assert not any(pool.map(lambda part: wrong_reads(packed, part), np.array_split(rows, 16)))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_damage_inside_an_archive_breaks_the_image_and_no_other(tmp_path, method):
    archive = fill_zip(tmp_path / "dev_queries.zip", ["Q00001", "Q00002"], method=method)
    data = bytearray(archive.read_bytes())
    data[data.index(b"Q00002.jpg") + len(b"Q00002.jpg") + 3] ^= 0xFF
    archive.write_bytes(data)
    images = require(open_disc(tmp_path), "queries")
    assert images.read(0) == content("Q00001")
    with pytest.raises(BrokenImage, match="damaged zip archive"):
        images.read(1)


def test_an_archive_replaced_since_it_was_listed_breaks_the_image(tmp_path):
    archive = fill_zip(tmp_path / "dev_queries.zip", ["Q00001", "Q00002"])
    images = require(open_disc(tmp_path), "queries")
    archive.write_bytes(b"something else entirely")
    with pytest.raises(BrokenImage):
        images.read(1)


def test_a_file_gone_since_it_was_listed_is_missing(twins):
    for images in twins:
        images.sources[images.places[5]["source"]].path.rename(images.sources[0].path.with_name("away"))
        with pytest.raises(MissingInput, match="is gone"):
            images.read(5)
    with pytest.raises(MissingInput, match="is gone"):
        twins[0].content_digest()


def test_large_archives_with_64_bit_records_are_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "dev_queries.zip", "w") as opened:
        for name in ("Q00001", "Q00002"):
            with opened.open(f"{name}.jpg", "w", force_zip64=True) as member:
                member.write(content(name))
    assert_holds(open_disc(tmp_path), {"queries": ["Q00001", "Q00002"]})


def test_an_encrypted_archive_is_refused(tmp_path):
    archive = fill_zip(tmp_path / "dev_queries.zip", ["Q00001"])
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(BadInput, match="encrypted"):
        require(open_disc(tmp_path), "queries")


def test_any_folder_of_photographs_is_a_set_with_paths_as_ids(tmp_path):
    root = tmp_path / "holiday"
    for path in ("b.JPG", "a/x.png", "a/b/c.d.webp", "a/10.tiff", ".hidden/y.jpg", "notes.txt", "a/.z.jpg"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    images = open_folder(root, Role.EXTERNAL)
    assert (images.name, images.role) == ("holiday", Role.EXTERNAL)
    assert images.ids.tolist() == ["a/10", "a/b/c.d", "a/x", "b"]
    assert [images.read(i) for i in range(4)] == [b"a/10.tiff", b"a/b/c.d.webp", b"a/x.png", b"b.JPG"]


def test_no_damage_to_an_archives_directory_hides_an_image(tmp_path):
    ids = [f"R{k:06d}" for k in range(12)]
    archive = fill_zip(tmp_path / "references_0.zip", ids, prefix="images/")
    whole = archive.read_bytes()
    with zipfile.ZipFile(archive) as opened:
        start = opened.start_dir
    refused = broken = 0
    for at in range(start, len(whole)):
        for bit in (0x01, 0x20, 0x80):
            archive.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            disc = open_disc(tmp_path)
            if disc.refused or disc.references is None:
                refused += 1
                continue
            assert len(disc.references) == len(ids), (at - start, bit)
            for row in range(len(ids)):
                try:
                    assert disc.references.read(row) == content(str(disc.references.ids[row]))
                except BrokenImage:
                    broken += 1
    assert refused > 100 and broken > 100


def test_files_too_large_for_an_image_are_refused_by_their_sizes_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, "MAX_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "references_0.zip", "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("R000000.jpg", bytes(1 + (1 << 20)))
        opened.writestr("R000001.jpg", bytes(1 << 20))
    with pytest.raises(BadInput, match=r"1 files of more than 1,048,576 bytes .*R000000"):
        require(open_disc(tmp_path), "references")
