"""Weight files of the published systems, by the names and shapes of their authors' own definitions.

`published/*.txt`: a tensor a line, under "#" the place that defines it (repository, or path in it, and line as counted
in a stored copy; modules of torchvision and timm after the arrow). No weight file was at hand.
"""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from isckit import config
from isckit.cli.main import main
from isckit.models.backbone import backbone
from isckit.models.detector import OverlayDetector, load_detector
from isckit.models.layouts import LAYOUTS, member_keys, pair_keys
from isckit.models.members import read
from isckit.models.network import EmbeddingNetwork
from isckit.models.pair import PairClassifier, load_pair
from isckit.recipes.catalogue import recipe
from isckit.runs.artifacts import read_receipt, weights_digest
from isckit.runs.checkpoints import read_weights
from isckit.types import BadInput

TABLES = Path(__file__).with_name("published")
MEMBERS = {
    "d2lv_r50": ("d2lv", "basic_r50_256"),
    "d2lv_r152": ("d2lv", "colour_grey_r152_256"),
    "d2lv_ibn": ("d2lv", "opaque_ibn_256"),
    "imgfp": ("imgfp", "network"),
    "how": ("how", "network"),
    "s_square_m19": ("s_square", "m19"),
    "s_square_m24": ("s_square", "m24"),
    "s_square_m25_16": ("s_square", "m25_16"),
    "s_square_m9": ("s_square", "m9"),
    "separate_r1": ("separate", "r1"),
    "separate_r2": ("separate", "r2"),
}
TRUNKS = {
    "barlow_twins": ("d2lv", "basic_r50_256"),
    "momentum_teacher_ibn": ("d2lv", "basic_ibn_256"),
    "esvit_swin_b14": ("imgfp", "network"),
    "multigrain": ("multigrain", "network"),
}


def shapes(name):
    """Name of a tensor to its shape, as the authors' code has them."""
    lines = (TABLES / f"{name}.txt").read_text().splitlines()
    rows = [line.partition(" ") for line in lines if not line.startswith("#")]
    return {key: tuple(int(side) for side in shape.split("x") if side) for key, _, shape in rows}


def hollow(name):
    """Tensors of these shapes that take no memory."""
    return {key: torch.zeros(()).expand(shape) for key, shape in shapes(name).items()}


def shapes_of(module, but=()):
    return {key: tuple(value.shape) for key, value in module.state_dict().items() if key not in but}


def settings_of(name, member):
    (found,) = (part for part in (*recipe(name).members, *recipe(name).pair_networks) if part.name == member)
    return config.replace(found, backbone=config.replace(found.backbone, pretrained="none"))


@pytest.mark.parametrize("table", MEMBERS)
def test_every_tensor_of_a_published_network_has_its_place_and_no_other_is_needed(table):
    with torch.device("meta"):  # names and shapes are all that is asked
        network = EmbeddingNetwork(settings_of(*MEMBERS[table]))
    found = {key: tuple(value.shape) for key, value in member_keys(hollow(table)).items()}
    not_in_files = {"mean", "std", *({"pool.p"} - found.keys())}
    assert found == shapes_of(network, but=not_in_files)


@pytest.mark.parametrize("table", TRUNKS)
def test_every_tensor_of_a_published_trunk_has_its_place(table):
    settings = settings_of(*TRUNKS[table]).backbone
    with torch.device("meta"):
        trunk = backbone(config.replace(settings, blocks=0))
    found = {key: tuple(value.shape) for key, value in member_keys(hollow(table)).items()}
    found = {key.removeprefix("backbone."): shape for key, shape in found.items() if key.startswith("backbone.")}
    assert found == shapes_of(trunk)


def test_every_tensor_of_a_published_pair_network_has_its_place():
    with torch.device("meta"):
        network = PairClassifier(settings_of("separate", "pairs_a"))
    found = {key: tuple(value.shape) for key, value in pair_keys(hollow("separate_pair")).items()}
    assert found == shapes_of(network, but={"mean", "std"})


@pytest.mark.parametrize("table", [*MEMBERS, *TRUNKS, "separate_pair"])
def test_no_file_fits_two_layouts_that_differ(table):
    keys = shapes(table).keys()
    fitting = [layout for layout in LAYOUTS if all(marker in keys for marker in layout.markers)]
    assert len(fitting) <= 1, [layout.source for layout in fitting]
    bare = ("barlow_twins", "momentum_teacher_ibn", "separate_r2")  # names of torchvision and timm as they are
    assert fitting or table in bare


def as_conversion_scripts_write(table, path, protocol=3):
    """`Pretrain/*/tran.py` of D2LV: a dict of tensors, and words, by pickle.dump."""
    held = {"model": table, "__author__": "somebody", "matching_heuristics": True}
    path.write_bytes(pickle.dumps(held, protocol=protocol))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_plain_pickle_of_tensors_is_read_without_running_it(tmp_path, protocol):
    table = {
        "a.weight": torch.randn(3, 4),
        "a.half": torch.randn(5).half(),
        "n": torch.tensor(7),
        "t": torch.randn(4, 3).T,
    }
    as_conversion_scripts_write(table, tmp_path / "w.pkl", protocol)
    found = read_weights(tmp_path / "w.pkl")
    assert found.keys() == table.keys()
    assert all(torch.equal(found[key], value) and found[key].dtype == value.dtype for key, value in table.items())


class Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("place", ["value", "key beside", "in storage"])
def test_a_plain_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path, place):
    mark = tmp_path / "ran"
    table = {"w": torch.zeros(2)}
    if place == "value":
        held = pickle.dumps({"model": table | {"x": Code(mark)}})
    elif place == "key beside":
        held = pickle.dumps({"model": table, "args": Code(mark)})
    else:  # the bytes of a storage are a torch file of their own
        inner = pickle.dumps(Code(mark))
        held = b"\x80\x03ctorch.storage\n_load_from_bytes\nB" + len(inner).to_bytes(4, "little") + inner + b"\x85R."
        held = b"\x80\x03}X\x01\x00\x00\x00w" + held[2:-1] + b"s."
    (tmp_path / "w.pkl").write_bytes(held)
    with pytest.raises(BadInput, match="cannot be read as weights"):
        read_weights(tmp_path / "w.pkl")
    assert not mark.exists()


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    good = pickle.dumps({"w": torch.arange(6.0)}, protocol=2)
    assert good.count(b"K\x06\x85") == 1  # the size (6,)
    (tmp_path / "w.pkl").write_bytes(good.replace(b"K\x06\x85", b"K\x60\x85"))
    with pytest.raises(BadInput, match="cannot be read as weights"):
        read_weights(tmp_path / "w.pkl")


def test_a_few_values_that_claim_to_fill_the_memory_are_refused(tmp_path):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"w": torch.zeros(1).expand(1 << 20, 1 << 20)}, protocol=3))
    with pytest.raises(BadInput, match="cannot be read as weights"):
        read_weights(tmp_path / "w.pkl")


def test_a_self_supervised_file_gives_its_teacher_under_timms_names(tmp_path):
    """As EsViT writes it: student and teacher, and an optimiser whose rates numpy computed."""
    small = {key: torch.full((2,), float(k)) for k, key in enumerate(shapes("esvit_swin_b14"))}
    saved = {
        "student": {f"module.{key}": value + 1 for key, value in small.items()},
        "teacher": OrderedDict(small),
        "optimizer": {"param_groups": [{"lr": np.float64(1e-3), "weight_decay": np.float64(0.04)}]},
        "epoch": 3,
    }
    torch.save(saved, tmp_path / "checkpoint.pth")
    found = member_keys(read_weights(tmp_path / "checkpoint.pth"))
    assert torch.equal(found["backbone.layers.1.downsample.norm.weight"], small["layers.0.downsample.norm.weight"])
    assert "backbone.layers.0.downsample.norm.weight" not in found
    assert not any("relative_position_index" in key or key.startswith("head") for key in found)


SMALL = config.Network(
    backbone=config.Backbone(name="resnet10t"), head=config.Head(), dim=8, image_size=32, canvas=64, stages=()
)
TWO = config.Recipe(
    name="two",
    members=(
        config.replace(SMALL, name="first"),
        config.replace(SMALL, name="second", gem_p=4.0),
        config.replace(SMALL, name="again", weights_of="first"),
    ),
)


def bare(seed):
    torch.manual_seed(seed)
    return {k: v for k, v in EmbeddingNetwork(SMALL).state_dict().items() if k not in ("mean", "std", "pool.p")}


def test_a_folder_gives_each_member_the_file_that_is_called_after_it(tmp_path):
    first, second = bare(1), bare(2)
    torch.save({"state_dict": first}, tmp_path / "first.pth.tar")
    as_conversion_scripts_write(second, tmp_path / "second.pkl")
    (tmp_path / "README").write_text("weights")
    found = read(TWO, tmp_path)
    assert {key.partition(".")[0] for key in found} == {"first", "second"}
    assert all(torch.equal(found[f"first.{key}"], value) for key, value in first.items())
    assert all(torch.equal(found[f"second.{key}"], value) for key, value in second.items())
    assert found["second.pool.p"].item() == 4.0


def test_a_folder_without_a_members_file_or_with_two_is_refused_by_name(tmp_path):
    torch.save(bare(1), tmp_path / "first.pth")
    torch.save(bare(1), tmp_path / "secnd.pth")
    with pytest.raises(BadInput, match=r"no file for second \(1 members\); files: first\.pth, secnd\.pth"):
        read(TWO, tmp_path)
    torch.save(bare(1), tmp_path / "second.pth")
    torch.save(bare(1), tmp_path / "second.pt")
    with pytest.raises(BadInput, match=r"second\.pt and second\.pth"):
        read(TWO, tmp_path)


def test_a_folder_has_pair_networks_and_the_detector_too(tmp_path):
    """What their files lack is the preprocessing alone; a detector's file is a run's, with all that it held."""
    pair = config.PairNetwork(
        name="judge", backbone=config.Backbone(name="resnet10t"), image_size=32, stages=(config.PairStage(),)
    )
    detector = config.Detector(architecture="fcos_mobilenet_v3_small", image_size=64)
    matching = config.Matching(branches=(config.Views(), config.Pairs(networks=(pair,), candidates=("views",))))
    members = (config.replace(SMALL, name="network"),)
    both = config.Recipe(name="both", members=members, detector=detector, matching=matching)
    torch.manual_seed(3)
    judge, boxes = PairClassifier(pair), OverlayDetector(detector)
    torch.save(bare(1), tmp_path / "network.pth")
    torch.save({k: v for k, v in judge.state_dict().items() if k not in ("mean", "std")}, tmp_path / "judge.pth")
    torch.save({f"detector.{k}": v for k, v in boxes.state_dict().items()}, tmp_path / "detector.pth")
    found = read(both, tmp_path)
    loaded = load_pair(pair, found, device=torch.device("cpu")).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in judge.state_dict().items())
    own = {key.removeprefix("detector."): value for key, value in found.items() if key.startswith("detector.")}
    again = load_detector(detector, own, device=torch.device("cpu")).state_dict()
    assert all(torch.equal(again[key], value) for key, value in boxes.state_dict().items())


def test_train_takes_a_folder_and_knows_it_again(tmp_path, capsys):
    weights = tmp_path / "weights"
    weights.mkdir()
    (network,) = recipe("baseline.tiny").trained
    torch.manual_seed(4)
    torch.save(EmbeddingNetwork(network).state_dict(), weights / "network.pth")
    verb = [
        "train",
        "--name",
        "given",
        "--recipe",
        "baseline.tiny",
        "--root",
        str(tmp_path),
        "--checkpoint",
        str(weights),
    ]
    assert main(verb) == 0
    receipt = read_receipt(tmp_path / "checkpoints" / "given" / "weights.safetensors")
    assert receipt["made_from"]["checkpoint"] == weights_digest(weights)
    assert main(verb) == 0
    torch.save(EmbeddingNetwork(network).state_dict(), weights / "network.pth")
    capsys.readouterr()
    assert main(verb) == 2
    assert "weights.safetensors" in capsys.readouterr().err
