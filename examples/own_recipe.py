"""A recipe of one's own, without touching the package: a smaller `baseline.tiny` with an entropy term in its loss.

    ./run_phase1.sh --recipe examples/own_recipe.py --name mine

The same as values, in a file mine.yaml (lists of named elements may be given by name):

    extends: baseline.tiny
    name: mine
    members:
      network: {dim: 64, image_size: 64}
    matching: {rows_per_query: 5}
"""

from isckit import config
from isckit.recipes.catalogue import recipe as find


def recipe() -> config.Recipe:
    """Return the recipe; every value is checked when it is built."""
    tiny = find("baseline.tiny")
    network, gist = tiny.members
    assert isinstance(network, config.Network)
    loss = config.NtXent(temperature=0.05, koleo=30.0)
    stages = tuple(config.replace(stage, loss=loss) for stage in network.stages)
    network = config.replace(network, dim=64, image_size=64, stages=stages)
    matching = config.replace(tiny.matching, rows_per_query=5)
    return config.replace(tiny, name="mine", members=(network, gist), matching=matching)


if __name__ == "__main__":
    print(config.to_json(recipe()), end="")
