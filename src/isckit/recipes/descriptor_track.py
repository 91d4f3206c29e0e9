"""Common parts of the systems of the Descriptor track: one vector an image, and weights from outside."""

from __future__ import annotations

from collections.abc import Iterable

from isckit.config import Ensemble, External, Matching, Network, NtXent, Optim, Stage, Views

WHOLE = Views(query_views=(), reference_views=(), norm_factor=1.0, norm_first=1, norm_last=3)
WHOLE_IMAGES = Matching(branches=(WHOLE,))
"""None of these systems has views of its own for the Matching track: whole images, scores normalised as SSCD's are."""

UNREDUCED = Ensemble(how="shared", dim=256)
"""One member of 256 values is its own space: its unit vectors are the descriptors, without a PCA and its mean."""


def hub_weights(members: Iterable[Network]) -> tuple[External, ...]:
    """Return entries for the weights that timm fetches, one a backbone: rule 5.6 asks for source and licence.

    All backbones of these recipes are under Apache-2.0 (timm's own record of each of them).
    """
    users: dict[str, list[str]] = {}
    for member in members:
        users.setdefault(member.backbone.name, []).append(member.name)
    return tuple(
        External(
            name=name,
            address=f"https://huggingface.co/timm/{name}",
            licence="Apache-2.0",
            use=f"first weights of {', '.join(names)}; trained by their authors on ImageNet, whose images have terms "
            "of their own: the participant certifies that they permit a prize contest",
        )
        for name, names in users.items()
    )


def head_start(*, epochs: int, image_size: int = 64) -> Stage:
    """Return the first stage of a mini: small images, mild edits, where the full recipe has weights from outside.

    From random weights nothing is learnt from copies that keep little. The softmax over the batch with a little entropy
    learns several times faster than one over a memory, in which the embeddings of a young network are soon stale.
    """
    return Stage(
        name="head_start",
        epochs=epochs,
        images_per_epoch=6_000,
        batch_images=128,
        image_size=image_size,
        views=("weak", "mild"),
        loss=NtXent(temperature=0.05, koleo=1.0),
        optim=Optim(name="adamw", lr=2e-3, weight_decay=0.05, warmup_epochs=0.5, schedule="cosine"),
    )
