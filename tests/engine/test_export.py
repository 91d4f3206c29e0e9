"""Exported networks compute what the network computes, at any batch size; what does not is not written."""

import importlib.util
import json

import pytest
import torch
import typer
from typer.testing import CliRunner

from isckit import config
from isckit.cli import tools as interop
from isckit.engine import export as exporting
from isckit.engine.export import TOLERANCE, export, largest_difference, pictures, write_network
from isckit.models.members import build, prefixed
from isckit.runs.artifacts import receipt_path
from isckit.runs.checkpoints import write_weights
from isckit.runs.run import begin
from isckit.runs.workspace import Workspace
from isckit.types import BadInput, MissingInput

SETTINGS = config.Network(
    backbone=config.Backbone(name="test_resnet"), dim=12, gem_p=2.6, gem_p_at_test=3.7, image_size=48, canvas=64
)
ONNX = all(importlib.util.find_spec(name) for name in exporting.ONNX_PACKAGES)
FORMATS = ["torchscript", pytest.param("onnx", marks=pytest.mark.skipif(not ONNX, reason="requirements-export.txt"))]


def lively(network):
    """Batch statistics and GeM off their first values, so that leaving any of them out shows."""
    draw = torch.Generator().manual_seed(5)
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=draw) / 9)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=draw) + 0.5)
    return network.eval()


def fresh(settings=SETTINGS, seed=0):
    torch.manual_seed(seed)
    return lively(build(settings))


@pytest.fixture
def weights(tmp_path):
    recipe = config.Recipe(name="t", members=(SETTINGS, config.Gist()))
    path = tmp_path / "w.safetensors"
    write_weights(path, prefixed("network", fresh().state_dict()), recipe=config.to_json(recipe))
    return recipe, path


def runner(path, form):
    return exporting._onnx_runner(path) if form == "onnx" else exporting._torchscript_runner(path)


@pytest.mark.parametrize("form", FORMATS)
def test_the_file_gives_the_networks_unit_vectors_at_any_batch_size(weights, tmp_path, form):
    recipe, path = weights
    out = tmp_path / f"net.{form}"
    assert export(recipe, path, out, member=None, form=form) <= 1e-5
    run, network = runner(out, form), fresh()
    for count in (1, 2, 5, 17):
        images = torch.randint(0, 256, (count, 3, 48, 48), dtype=torch.uint8)
        with torch.inference_mode():
            found, wanted = run(images), network(images)
        assert found.shape == (count, 12) and found.dtype == torch.float32
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.norm(dim=-1), torch.ones(count))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("part", ["pool", "mean", "head"])
def test_an_altered_network_fails_the_comparison(tmp_path, form, part):
    network, out = fresh(), tmp_path / "net"
    assert write_network(network, out, size=48, form=form) <= TOLERANCE
    with torch.no_grad():
        if part == "pool":
            network.pool.at_test = 4.2
        elif part == "mean":
            network.mean += 3
        else:
            network.head.fc.weight[0] *= 1.05
    assert largest_difference(network, out, size=48, form=form) > TOLERANCE


class Forked(torch.nn.Module):
    """Computes something else for the batch size that files are traced with: a trace keeps that branch for all."""

    def __init__(self):
        super().__init__()
        self.network = fresh()

    def forward(self, images):
        vectors = self.network(images)
        return vectors.flip(-1) if len(images) == exporting.EXAMPLES else vectors


def test_a_file_that_differs_is_refused_and_what_stood_there_stays(tmp_path):
    out = tmp_path / "net.pt"
    out.write_text("before")
    with pytest.raises(BadInput, match="differ by up to"):
        write_network(Forked(), out, size=48, form="torchscript")
    assert out.read_text() == "before" and [p.name for p in tmp_path.iterdir()] == ["net.pt"]


def test_vectors_that_are_not_numbers_are_no_agreement(tmp_path):
    network, out = fresh(), tmp_path / "net.pt"
    with torch.no_grad():
        network.mean.fill_(float("nan"))
    with pytest.raises(BadInput, match="nan"):
        write_network(network, out, size=48, form="torchscript")
    assert not out.exists()


@pytest.mark.parametrize("form", FORMATS)
def test_the_receipt_says_what_the_file_is(weights, tmp_path, form):
    recipe, path = weights
    out = tmp_path / "net.bin"
    difference = export(recipe, path, out, member="network", form=form)
    receipt = json.loads(receipt_path(out).read_text())
    facts = receipt["facts"]
    assert receipt["made_from"]["recipe"] == config.digest(recipe) and receipt["made_from"]["member"] == "network"
    assert facts["input"]["shape"] == ["N", 3, 48, 48] and facts["output"]["shape"] == ["N", 12]
    assert facts["compared"]["largest_difference"] == difference
    assert facts["normalisation"]["mean"] == pytest.approx(fresh().mean.flatten().tolist())
    assert ("opset" in facts) == ("onnx_packages" in facts) == (form == "onnx")
    assert receipt["packages"]["torch"]


@pytest.mark.parametrize(("member", "seen"), [("gist", "--member gist"), ("netwrk", "--member netwrk")])
def test_only_networks_are_exported(weights, tmp_path, member, seen):
    recipe, path = weights
    with pytest.raises(BadInput, match=seen) as error:
        export(recipe, path, tmp_path / "net", member=member, form="torchscript")
    assert "network" in error.value.allowed and not (tmp_path / "net").exists()


def test_one_of_several_networks_must_be_named(weights, tmp_path):
    recipe = config.Recipe(name="t", members=(SETTINGS, config.replace(SETTINGS, name="second")))
    with pytest.raises(BadInput, match="2 networks"):
        export(recipe, weights[1], tmp_path / "net", member=None, form="torchscript")


@pytest.mark.skipif(ONNX, reason="the packages are installed")
def test_without_its_packages_onnx_names_the_file_that_lists_them(weights, tmp_path):
    recipe, path = weights
    with pytest.raises(MissingInput, match="onnxruntime") as error:
        export(recipe, path, tmp_path / "net", member=None, form="onnx")
    assert "requirements-export.txt" in error.value.remedy and not (tmp_path / "net").exists()


def test_pictures_of_a_batch_differ_and_are_drawn_again_the_same():
    images = pictures(3, 40)
    assert images.dtype == torch.uint8 and images.shape == (3, 3, 40, 40)
    assert not torch.equal(images[0], images[1]) and torch.equal(images, pictures(3, 40))


def test_the_verb_exports_a_runs_network_and_prints_the_difference(weights, tmp_path):
    recipe, path = weights
    run = begin(Workspace(tmp_path), "run", recipe)
    app = typer.Typer()
    app.command()(interop.export)
    arguments = ["--name", "run", "--root", tmp_path, "--out", tmp_path / "net.pt", "--format", "torchscript"]
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 2 and "isckit train --name run" in result.output
    path.rename(run.weights)
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0 and "largest difference from the network: " in result.output
    assert (tmp_path / "net.pt").is_file()
