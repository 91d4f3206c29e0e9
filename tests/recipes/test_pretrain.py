"""First weights without labels: the published views, any folder as external images, and what begins with them."""

import pytest
import torch
from PIL import Image

from isckit import config
from isckit.augment.pipelines import find
from isckit.cli.main import main
from isckit.judge.rules.training import training_logs
from isckit.models.backbone import backbone
from isckit.runs.checkpoints import read_weights
from isckit.synthetic.procedural import picture

NAMES = ("barlow_twins", "byol", "momentum_teacher")


def test_the_first_view_is_always_blurred_and_the_second_sometimes_solarized():
    common = ["random_resized_crop", "hflip", "colour_jitter", "grayscale", "blur"]
    for name, more, blur in (("byol.first", [], 1.0), ("byol.second", ["solarize"], 0.1)):
        steps = {step.op: step for step in find(name).steps}
        assert list(steps) == common + more
        assert steps["blur"].probability == blur
        assert steps["blur"].ranges["sigma"] == pytest.approx((0.1 / 224, 2 / 224))
        assert steps["colour_jitter"].ranges == {"brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
        assert (steps["colour_jitter"].probability, steps["grayscale"].probability) == (0.8, 0.2)
        assert steps["random_resized_crop"].ranges == {"scale": (0.08, 1.0)}
    assert find("byol.second").steps[-1].probability == 0.2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images in folders of classes, as ImageNet's are."""
    root = tmp_path_factory.mktemp("imagenet")
    for k in range(16):
        (root / f"n0144{k % 2}").mkdir(exist_ok=True)
        Image.fromarray(picture(k, size=(60, 70))).save(root / f"n0144{k % 2}" / f"image_{k}.JPEG", format="JPEG")
    return root


@pytest.mark.parametrize("name", NAMES)
def test_any_folder_trains_weights_that_another_recipe_begins_with(folder, tmp_path, name):
    stage = f"members.network.stages.{name}"
    short = [f"{stage}.epochs=1", f"{stage}.batch_images=8", f"{stage}.optim.warmup_epochs=0.0"]
    short += ["members.network.image_size=32", "members.network.canvas=32"]
    told = [word for value in short for word in ("--set", value)]
    common = ["--name", "first", "--root", str(tmp_path), "--workers", "0"]
    assert main(["train", *common, "--recipe", f"pretrain.{name}.mini", "--data", str(folder), *told]) == 0
    path = tmp_path / "checkpoints" / "first" / "weights.safetensors"
    (log,) = training_logs(path.parent).values()
    assert set(log[0]["consumed"]) == {"external"}
    begun = backbone(config.Backbone(name="resnet10t", pretrained=str(path))).state_dict()
    weights = read_weights(path)
    assert all(torch.equal(value, weights[f"network.backbone.{key}"]) for key, value in begun.items())


def test_a_recipe_that_trains_on_the_contests_images_wants_them(folder, tmp_path, capsys):
    common = ["--name", "other", "--root", str(tmp_path), "--data", str(folder), "--workers", "0"]
    assert main(["train", *common, "--recipe", "baseline.tiny"]) == 2
    assert "no train images" in capsys.readouterr().err
