"""The training sets of the Matching track's first prize (Wang et al. 2021, "D2LV"): the basic set of the same authors'
descriptor (`sets.vision_force`), and five that add one strong operation to it.

The paper names them; two operations are described: opaque is the authors' later, published generator's, and the face
set is the basic one on more images (`data.faces`). Blur, colour, dark and occlude are proposals. The four grey sets are
basic, blur, colour and face seen by networks with `grey`.
"""

from __future__ import annotations

from isckit.augment.nodes import AnyOrder, Node, OneOf
from isckit.augment.sets.vision_force import EACH, operations, stored_then_online
from isckit.augment.steps import Pipeline, step

SUPER = 0.5
"""Probability of the strong operation, after the basic ones, so that its network sees both with and without. Not
published."""

_CHANNELS = OneOf(((0.5, (step("swap_channels", repeated=0.0),)), (0.5, (step("invert"),))))

SUPERS: dict[str, tuple[Node, ...]] = {
    # Queries that are blurred meet references blurred by 5 px at test: from there on.
    "blur": (step("blur", sigma=(5 / 256, 10 / 256)),),
    "colour": (step("colour_jitter", brightness=3.0, contrast=4.0, saturation=4.0, hue=0.5), _CHANNELS),
    "dark": (step("brightness", factor=(0.05, 0.4)),),
    "opaque": (step("blend", opacity=(0.2, 1.0)),),
    "occlude": (step("occlude", count=(3, 8), area=(0.45, 0.8)),),
}
"""Set -> what it adds."""


def _both(name: str, *added: Node) -> dict[str, Pipeline]:
    """Return a set under both policies: three operations in random order, or all in turn, each with its coin."""
    strong = (OneOf(((SUPER, added), (1 - SUPER, ()))),) if added else ()
    return {
        f"d2lv.{name}": stored_then_online(AnyOrder(operations(1.0), some=(3, 3)), *strong),
        f"d2lv.{name}_all": stored_then_online(*operations(EACH), *strong),
    }


PIPELINES = _both("basic")
for _name, _added in SUPERS.items():
    PIPELINES |= _both(_name, *_added)
