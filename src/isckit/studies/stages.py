"""The cost of describing, fitting and matching at a size: rows, disk, memory, operations and time of every stage.

Rows and bytes follow from the recipe. Operations of networks are counted on shapes alone (torch's counter), those of
products are two a term. Time is operations and images over rates, of which `measure` measures those of this machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from isckit import config
from isckit.engine.operations import operations, pair_operations, width_of
from isckit.matching.local.inverted import PART
from isckit.matching.local.words import POINTS, words_for
from isckit.matching.spaces import most_views
from isckit.studies.plan import Size, Stage
from isckit.studies.rates import Rates
from isckit.types import MAX_ROWS, Role

_POINT_BYTES, _ENTRY_BYTES = 128 + 16, 14
_KEY = 26
"""Bytes of an id and a view beside a vector."""
_PAIR = 32
_BASE = 1 << 30
"""Bytes of a process with its libraries."""
DETECTOR, _LOCAL_CODES = 3e9, 2e11
"""Operations an image of a detector, and of HOW's features at seven scales: assumed."""
_CODE_BYTES = 20
"""Of a word and its code."""
_SHARED, _SHARED_RATE = 0.01, 1e7
"""Share of pairs of images that have a word in common, and how many a core scores a second: assumed."""
_UNEVEN = 1.24
"""The length of the list that a point reads, as a multiple of the mean: on `disc_mini` with 1,024 words."""
_VOTED = 4e-3
"""Share of references that votes without a bound leave: on `disc_mini`, 11 of 3,000."""
_COMPARED = 1e9
"""Distances that a core holds against a radius in a second: assumed."""


@dataclass
class Planner:
    """Makes the stages of describing, fitting and matching."""

    recipe: config.Recipe
    size: Size
    rates: Rates
    listed: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cores = self.size.cores * self.size.machines
        self.gpus = self.size.gpus * self.size.machines
        self.widths = {member.name: width_of(member) for member in self.recipe.members}
        networks = [member for member in self.recipe.members if isinstance(member, config.Network)]
        self.passes = {network.name: operations(network) for network in networks}

    def stage(
        self,
        name: str,
        rows: float,
        *,
        disk: float = 0,
        memory: float = 0,
        network: float = 0,
        products: float = 0,
        cores: float = 0,
        one_machine: bool = False,
        setting: str = "",
    ) -> Stage:
        """Return a stage: `network` and `products` in operations, `cores` in seconds of one core beside them."""
        share = self.size.machines if one_machine else 1
        if self.gpus:
            device = (network / self.rates.gpu_network + products / self.rates.gpu_products) / self.gpus
        else:
            device = (network / self.rates.network + products / self.rates.products) / self.cores
        seconds = max(device, cores / self.cores) if self.gpus else device + cores / self.cores
        seconds += disk / (self.rates.disk * self.size.machines)
        flops = int(network + products)
        return Stage(name, int(rows), int(disk), int(_BASE + memory), flops, seconds * share, setting)

    def describing(self) -> Iterator[Stage]:
        """Yield what is described of each image set: embeddings by all members in one pass, points, what is found."""
        for image_set, role in (("train", Role.TRAIN), ("references", Role.REFERENCE), ("queries", Role.QUERY)):
            images = self.size.images(image_set)
            rows = disk = network = held = cores = 0.0
            for member in self.recipe.members:
                views = self.views(role, member.name)
                rows += images * views
                disk += images * views * (4 * self.widths[member.name] + _KEY)
                held += views * 4 * self.widths[member.name]
                if isinstance(member, config.Network):
                    network += images * views * self.passes[member.name]
                elif isinstance(member, config.Fisher):
                    cores += images * (views if role is not Role.TRAIN else 1) / self.rates.points
                else:
                    cores += images * views / self.rates.decoding
            canvases = [m.canvas for m in self.recipe.members if isinstance(m, config.Network)]
            batch = self.recipe.extract.batch_images * 3 * sum(side * side for side in canvases) * 2
            yield self.stage(
                f"describe {image_set}, views",
                rows,
                disk=disk,
                memory=self.recipe.extract.shard_images * held * 2 + batch,
                network=network,
                cores=cores + images / self.rates.decoding,
                setting="set extract.shard_images, extract.batch_images",
            )
            yield from self.looking(image_set, role)

    def looking(self, image_set: str, role: Role) -> Iterator[Stage]:
        """Yield what branches look for in images beside embeddings."""
        images = self.size.images(image_set)
        sets: set[str] = set()
        seen: set[tuple[config.Keypoints, str]] = set()
        for branch in self.recipe.matching.branches:
            sets |= set(branch.view_sets(role))
            if branch.kind == "local" and role is not Role.TRAIN:
                kind = branch.keypoints, branch.of if role is Role.QUERY else "image"
                if kind in seen:  # branches with the same settings share them
                    continue
                seen.add(kind)
                points = min(branch.keypoints.points or POINTS, POINTS)
                seconds = images / self.rates.points
                name = f"keypoints {image_set} {branch.name}, images"
                yield self.stage(name, images, disk=images * points * _POINT_BYTES, cores=seconds)
            if branch.kind == "asmk":
                disk = images * branch.features * _CODE_BYTES
                yield self.stage(
                    f"codes {image_set} {branch.name}, images", images, disk=disk, network=images * _LOCAL_CODES
                )
        if "proposals" in sets:
            yield self.stage(f"proposals {image_set}, images", images, cores=images / self.rates.proposals)
        if "overlays" in sets:
            yield self.stage(f"overlays {image_set}, images", images, network=images * DETECTOR)

    def fitting(self) -> Iterator[Stage]:
        """Yield the ensemble's projection, and the normalisation of both sides of the Descriptor track."""
        ensemble = self.recipe.ensemble
        width = sum(self.widths[name] for name in ensemble.members or self.widths)
        rows = min(ensemble.fit_images, self.size.train)
        yield self.stage(
            "fit ensemble, images",
            rows,
            products=2.0 * rows * width**2,
            memory=rows * width * 4 * 2 + 3 * width**2 * 8,
            disk=self.size.train * ensemble.dim * 4,
            one_machine=True,
            setting="set ensemble.fit_images",
        )
        searches = sum(2 if getattr(step, "sides", "queries") == "both" else 1 for step in self.recipe.normalise)
        rows = self.size.queries + (self.size.references if searches > 1 else 0)
        yield self.stage(
            "descriptor: normalise, vectors",
            rows,
            products=2.0 * rows * self.size.train * ensemble.dim * max(1, searches - 1),
            memory=(self.size.train + 2 * rows) * ensemble.dim * 4,
            disk=(self.size.queries + self.size.references) * (ensemble.dim * 4 + _KEY),
            one_machine=True,
            setting="describe fewer train images",
        )

    def matching(self) -> Iterator[Stage]:
        """Yield the branches of the Matching track."""
        by_kind = {"local": self.local, "pairs": self.pairs, "views": self.searches, "agreement": self.searches}
        for branch in self.recipe.matching.branches:
            yield from by_kind.get(branch.kind, self.shared_words)(branch)

    def pairs(self, branch: Any) -> Iterator[Stage]:
        """Yield the two passes of networks that see pairs."""
        pairs = self.listed[branch.name] = sum(self.listed[name] for name in branch.takes)
        network = pairs * sum(map(pair_operations, branch.networks)) * (1 + len(branch.views))
        yield self.stage(f"{branch.name}: networks, pairs", pairs, network=network, memory=pairs * _PAIR)

    def shared_words(self, branch: Any) -> Iterator[Stage]:
        """Yield the pairs of images that share words: a hundredth of all."""
        pairs = self.listed[branch.name] = self.size.queries * self.size.references * _SHARED
        yield self.stage(f"{branch.name}: shared words, pairs", pairs, cores=pairs / _SHARED_RATE)

    def searches(self, branch: Any) -> Iterator[Stage]:
        """Yield a search of all views for each space of a branch."""
        self.listed[branch.name] = self.expected(branch) / self.alike(branch)
        every = tuple(self.widths)
        own = list(branch.spaces(every))
        widths = [space.space.dim or sum(self.widths[name] for name in space.members) for space in own]
        sides = [self.views(role, *branch.view_sets(role)) for role in (Role.QUERY, Role.REFERENCE)]
        left, right = self.size.queries * sides[0], self.size.references * sides[1]
        for key, width in zip([s.key for s in own] or [branch.name], widths or [self.recipe.ensemble.dim], strict=True):
            rows = self.expected(branch) / (self.alike(branch) if branch.kind == "views" else 1)
            yield self.stage(
                f"{branch.name}: search {key}, rows",
                rows,
                disk=(left + right) * width * 4,
                memory=rows * _PAIR * 2 + (left + right) * _KEY + 65_536 * width * 4 * 2,
                products=2.0 * left * (right + (self.size.train if branch.norm_factor else 0)) * (width + 3),
                setting=f"set matching.branches.{branch.name}.cut",
            )

    def alike(self, branch: Any) -> float:
        """Return how many of the listed pairs of views are of the same images: half of all that two images have.

        With the default on `disc_mini`, 57 of 114.
        """
        sides = (self.views(role, *branch.view_sets(role)) for role in (Role.QUERY, Role.REFERENCE))
        return max(1.0, math.prod(sides) / 2)

    def expected(self, branch: Any) -> float:
        """Return the rows that a branch lists, expected."""
        cut, queries = branch.cut, self.size.queries
        sides = [self.views(role, *branch.view_sets(role)) for role in (Role.QUERY, Role.REFERENCE)]
        if cut.by == "share":
            return queries * min(cut.most, cut.amount * math.prod(sides) * self.size.references)
        return queries * cut.amount * (sides[0] if cut.by == "neighbours" else 1)

    def local(self, branch: Any) -> Iterator[Stage]:
        """Yield index, votes and verification of local features."""
        taken, self.listed[branch.name] = sum(self.listed[name] for name in branch.takes), MAX_ROWS
        vote, sides = branch.vote, 2 if branch.verify.mirrored else 1
        points = min(branch.keypoints.points or POINTS, POINTS)
        asked, there = self.size.queries * points, self.size.references * points
        if vote is not None and vote.index == "codes":
            words = vote.lists or words_for(there)
            yield self.stage(
                f"{branch.name}: index, points",
                there,
                disk=there * _ENTRY_BYTES,
                memory=min(there, PART) * 40,
                products=2.0 * there * 128 * 3 * math.sqrt(words),
                setting="set extract.shard_images",
            )
            looked = asked * sides * vote.probes * there / words * _UNEVEN
            most = self.size.queries * vote.most
            yield self.stage(
                f"{branch.name}: votes, entries",
                looked,
                disk=most * 24,
                memory=most * 24 + (1 << 29),
                products=2.0 * asked * sides * 128 * (math.sqrt(words) * (1 + 2 * vote.probes)),
                cores=looked / self.rates.entries,
                setting=f"set matching.branches.{branch.name}.vote.most",
            )
            taken += most
        elif vote is not None:
            share = 1.0 if vote.index == "exact" else _UNEVEN * vote.probes / vote.lists
            pairs = asked * (2 if vote.mirrored else 1) * there * share
            yield self.stage(
                f"{branch.name}: votes, pairs of points",
                pairs,
                products=2.0 * pairs * 128,
                cores=pairs / _COMPARED,
                memory=4 << 30,
                setting=f"set matching.branches.{branch.name}.vote.index=codes",
            )
            taken += self.size.queries * (1 if vote.by == "nearest" else self.size.references * _VOTED)
        yield self.stage(
            f"{branch.name}: verify, pairs",
            taken,
            cores=taken * sides / 2 / self.rates.verified,
            memory=taken * _PAIR,
            setting=f"set matching.branches.{branch.name}.vote.most, or the cut of {', '.join(branch.takes)}",
        )

    def evaluation(self) -> Stage:
        """Return the official evaluation of the descriptors."""
        products = 2.0 * self.size.queries * self.size.references * self.recipe.ensemble.dim
        rows, memory = min(MAX_ROWS, 10 * self.size.queries), self.size.queries * self.recipe.ensemble.dim * 8
        return self.stage("score descriptors, rows", rows, products=products, memory=memory + (1 << 29))

    def views(self, role: Role, *names: str) -> float:
        """Return the views of an image of a role: those of a member, or of view sets, the whole image among them."""
        if len(names) == 1 and names[0] in self.widths:
            branches = [b for b in self.recipe.matching.branches if not b.reads or names[0] in b.reads]
            names = tuple(dict.fromkeys(name for branch in branches for name in branch.view_sets(role)))
        return most_views(self.recipe, names)
