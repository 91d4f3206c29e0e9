import os

# One thread a test process: the tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from starting import zygote

__all__ = ["zygote"]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Hints of what images hold stay out of the user's cache."""
    import os

    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def mini(tmp_path_factory):
    """Folder of a DISC21-shaped set of procedural pictures: 48 train, 24 references, 2 x 16 queries."""
    from isckit.synthetic.write import write_mini

    folder = tmp_path_factory.mktemp("data") / "mini"
    write_mini(folder, train=48, references=24, queries=16, size=96, seed=3)
    return folder


@pytest.fixture(scope="session")
def disc(mini):
    """The mini set, opened."""
    from isckit.data.layouts import open_disc

    return open_disc(mini)


@pytest.fixture(scope="session")
def done(mini, tmp_path_factory):
    """Root folder of a run that went through both phases."""
    from chain import run_phase

    root = tmp_path_factory.mktemp("root")
    run_phase(root, mini, phase=1)
    run_phase(root, mini, phase=2)
    return root


@pytest.fixture
def copy(done, tmp_path):
    """A copy of that run to spoil."""
    import shutil
    from pathlib import Path

    return Path(shutil.copytree(done, tmp_path / "copy"))


@pytest.fixture
def assert_refused(capsys):
    """Assert that a command line is refused: exit code 2, one clear message, no traceback."""
    from isckit.cli.main import main

    def check(*arguments, saying):
        code = main([str(a) for a in arguments])
        error = capsys.readouterr().err
        assert code == 2 and "Traceback" not in error, error
        for text in ("seen:", "allowed:", "what to do:", *([saying] if isinstance(saying, str) else saying)):
            assert text in error, f"{text!r} is not in: {error[-2000:]}"

    return check


@pytest.fixture
def generator():
    """generator(seed=0): a fresh Generator."""
    import numpy as np

    return lambda seed=0: np.random.Generator(np.random.PCG64(seed))


@pytest.fixture
def photo():
    """photo(height, width, seed=0): colourful, with smooth areas, a strong edge and some grain."""
    import numpy as np

    def make(height, width, seed=0):
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[0:height, 0:width].astype(float)
        waves = [np.sin(x / (9 + 5 * k) + seed + k) * np.cos(y / (13 - 3 * k) - k) for k in range(3)]
        edge = np.where(x > 0.6 * width, 40, -20)[..., None] * (1, -0.5, 0.2)
        grain = rng.normal(0, 4, (height, width, 3))
        return np.clip(128 + 70 * np.stack(waves, -1) + edge + grain, 0, 255).astype(np.uint8)

    return make
