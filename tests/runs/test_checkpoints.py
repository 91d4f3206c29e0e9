import os
import pickle

import pytest
import torch

from isckit.runs.checkpoints import read_recipe, read_state, read_weights, write_state, write_weights
from isckit.types import BadInput, MissingInput

WEIGHTS = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(2, dtype=torch.int64), "half": torch.ones(3).half()}


def test_weights_and_recipe_come_back(tmp_path):
    write_weights(tmp_path / "w.safetensors", WEIGHTS, recipe='{"name": "x"}')
    back = read_weights(tmp_path / "w.safetensors")
    assert back.keys() == WEIGHTS.keys()
    assert all(torch.equal(back[key], value) and back[key].dtype == value.dtype for key, value in WEIGHTS.items())
    assert read_recipe(tmp_path / "w.safetensors") == {"name": "x"}


def test_equal_weights_give_equal_bytes_whatever_their_order(tmp_path):
    write_weights(tmp_path / "1.safetensors", WEIGHTS, recipe="{}")
    write_weights(tmp_path / "2.safetensors", dict(reversed(WEIGHTS.items())), recipe="{}")
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_torch_files_are_unwrapped(tmp_path, wrapper):
    inner = {f"module.{key}": value for key, value in WEIGHTS.items()}
    torch.save({wrapper: inner, "epoch": 3} if wrapper else inner, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").keys() == WEIGHTS.keys()


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_pickled_code_is_refused_and_never_run(tmp_path, save):
    marker = tmp_path / "exploded"
    save({"weights": Bomb(str(marker))}, tmp_path / "w.pth")
    with pytest.raises(BadInput, match="never run"):
        read_weights(tmp_path / "w.pth")
    with pytest.raises(BadInput, match="never run"):
        read_state(tmp_path / "w.pth")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize("damage", ["empty", "cut", "noise"])
def test_corrupt_files_are_refused(tmp_path, name, damage):
    path = tmp_path / name
    write_weights(path, WEIGHTS, recipe="{}") if name.endswith("safetensors") else torch.save(WEIGHTS, path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "noise": b"\x93" * 300}[damage])
    with pytest.raises(BadInput, match="cannot be read as weights"):
        read_weights(path)


def test_a_table_of_other_things_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(BadInput, match="not a table of tensors"):
        read_weights(tmp_path / "w.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingInput, match=r"nothing\.safetensors"):
        read_weights(tmp_path / "nothing.safetensors")


def test_a_training_state_comes_back(tmp_path):
    state = {"epoch": 3, "network": WEIGHTS, "lines": ["a", "b"], "loss": {"full": True}}
    write_state(tmp_path / "last.pt", state)
    back = read_state(tmp_path / "last.pt")
    assert back["epoch"] == 3 and back["lines"] == ["a", "b"] and torch.equal(back["network"]["b"], WEIGHTS["b"])


class Writes(torch.nn.Module):
    """Its TorchScript form makes a file when it is loaded: the path is part of its state."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight

    @torch.jit.export
    def __getstate__(self) -> tuple[str, torch.Tensor, bool]:
        return self.path, self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, torch.Tensor, bool]) -> None:
        self.path = state[0]
        self.weight = state[1] + torch.from_file(self.path, True, 4).sum()
        self.training = state[2]


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_the_code_of_a_torchscript_archive_is_never_run(tmp_path, suffix):
    target, path = tmp_path / "written", tmp_path / f"w{suffix}"
    torch.jit.script(Writes(str(target))).save(str(path))
    torch.jit.load(str(path))
    assert target.is_file(), "the archive attacks who loads it"
    target.unlink()
    with pytest.raises(BadInput):
        read_weights(path)
    assert not target.exists()
