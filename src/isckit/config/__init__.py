"""The vocabulary of a recipe: frozen settings, checked at birth, one file a subject."""

from isckit.config.branch import *  # noqa: F403
from isckit.config.branches import *  # noqa: F403
from isckit.config.detecting import *  # noqa: F403
from isckit.config.local import *  # noqa: F403
from isckit.config.matching import *  # noqa: F403
from isckit.config.members import *  # noqa: F403
from isckit.config.pairs import *  # noqa: F403
from isckit.config.recipe import *  # noqa: F403
from isckit.config.spaces import *  # noqa: F403
from isckit.config.training import *  # noqa: F403
