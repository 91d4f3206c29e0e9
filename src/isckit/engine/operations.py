"""Operations and widths of what a recipe is made of, counted on shapes alone by torch's counter."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace

from isckit import config


def width_of(member: config.Member) -> int:
    """Return the values of a member's vector."""
    match member:
        case config.Network() | config.Fisher():
            return member.dim
        case config.Hash():
            return 256 if member.method == "pdq" else 64
    return 960


def operations(member: config.Network) -> float:
    """Return the operations of describing one view, all scales and mirrored ones."""
    blank = replace(member.backbone, pretrained="none", frozen="none")
    # Members that share a network, as at other scales or in grey, are counted once a side.
    bare = replace(
        member,
        name="x",
        backbone=blank,
        scales=(),
        flip=False,
        weight=1.0,
        blur=0.0,
        grey=False,
        weights_of="",
        stages=(),
    )
    sides = member.scales or (member.image_size,)
    return sum(_operations(replace(bare, image_size=side, canvas=side)) for side in sides) * (1 + member.flip)


@functools.lru_cache
def _operations(member: config.Network) -> float:
    """Count on shapes alone."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from isckit.models.network import EmbeddingNetwork

    with torch.device("meta"), torch.no_grad():
        network = EmbeddingNetwork(member).eval()
        pixels = torch.empty(1, 3, member.image_size, member.image_size, dtype=torch.uint8)
        with FlopCounterMode(display=False) as counter:
            network.outputs(pixels)
    return float(counter.get_total_flops())


def pair_operations(pair: config.PairNetwork) -> float:
    """Return the operations of one pair of images."""
    member = config.Network(backbone=pair.backbone, image_size=pair.image_size, canvas=pair.canvas, pooling="token")
    return operations(member) * (2 if pair.tokens else 1)


def network_operations(rate: Callable[[Callable[[], object]], float]) -> float:
    """Return the operations a second of a core in the default network; `rate` says how often work is done a second."""
    import torch

    from isckit.models.network import EmbeddingNetwork

    network, threads = EmbeddingNetwork(config.Network()).eval(), torch.get_num_threads()
    pixels = torch.zeros(8, 3, network.settings.image_size, network.settings.image_size, dtype=torch.uint8)
    torch.set_num_threads(1)
    with torch.inference_mode():
        times = rate(lambda: network.outputs(pixels))
    torch.set_num_threads(threads)
    return len(pixels) * operations(network.settings) * times
