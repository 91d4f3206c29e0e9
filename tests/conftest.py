import os

# One thread a test process: the tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest


@pytest.fixture(scope="session")
def mini(tmp_path_factory):
    """Folder of a DISC21-shaped set of procedural pictures: 48 train, 24 references, 2 x 16 queries."""
    from isckit.augment.synthetic import write_mini

    folder = tmp_path_factory.mktemp("data") / "mini"
    write_mini(folder, train=48, references=24, queries=16, size=96, seed=3)
    return folder


@pytest.fixture(scope="session")
def disc(mini):
    """The mini set, opened."""
    from isckit.data.layouts import open_disc

    return open_disc(mini)
