"""What a recipe costs at a size, before anything runs: rows, disk, memory, operations and time of every stage.

Rows and bytes follow from the recipe. Operations of networks are counted on shapes alone (torch's counter), those of
products are two a term. Time is operations and images over rates, of which `measure` measures those of this machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from isckit import config
from isckit.matching.local.words import words_for
from isckit.matching.spaces import most_views
from isckit.studies.operations import operations, pair_operations, width_of
from isckit.studies.rates import Rates
from isckit.types import MAX_ROWS, Role

POINTS = 600
"""Local features of an image, where a recipe keeps as many as there are."""
_POINT_BYTES, _ENTRY_BYTES = 128 + 16, 14
_KEY = 26
"""Bytes of an id and a view beside a vector."""
_PAIR = 32
_BASE = 1 << 30
"""Bytes of a process with its libraries."""
LONG = 7 * 86_400.0
"""Seconds from which on a stage is told to take long."""
_BACKWARD = 3
"""Forward and backward pass, in forward passes."""


@dataclass(frozen=True)
class Size:
    """How much there is, and what does the work.

    Attributes:
        train, references, queries: images.
        cores, gpus: of a machine.
        memory_bytes: of a machine.
        machines: alike.
    """

    train: int = 1_000_000
    references: int = 1_000_000
    queries: int = 50_000
    cores: int = 2
    gpus: int = 0
    memory_bytes: int = 24 << 30
    machines: int = 1

    def images(self, image_set: str) -> int:
        """Return the images of a set."""
        return int(getattr(self, image_set))

    @property
    def processes(self) -> int:
        """Processes of a machine: one a GPU, else one."""
        return max(1, self.gpus)


@dataclass(frozen=True)
class Stage:
    """A stage of a recipe at a size.

    Attributes:
        stage: its name, as the verb's bar has it.
        rows: what it makes or looks at, in the unit that its name says.
        disk_bytes: that it leaves.
        peak_memory_bytes: of a process, beside mapped files.
        flops: floating point operations, of networks and products.
        seconds: by the rates.
        setting: what makes it smaller where it does not fit.
    """

    stage: str
    rows: int
    disk_bytes: int
    peak_memory_bytes: int
    flops: int
    seconds: float
    setting: str


def plan(recipe: config.Recipe, size: Size, rates: Rates) -> list[Stage]:
    """Return the stages of a recipe, in order."""
    planner = _Planner(recipe, size, rates)
    return [*planner.training(), *planner.describing(), *planner.fitting(), *planner.matching(), planner.evaluation()]


def too_large(stages: Sequence[Stage], size: Size) -> list[Stage]:
    """Return the stages whose process needs more memory than its share of a machine."""
    return [stage for stage in stages if stage.peak_memory_bytes > size.memory_bytes / size.processes]


def record(stages: Sequence[Stage]) -> list[dict[str, Any]]:
    """Return the stages as values that JSON knows."""
    keys = ("stage", "rows", "disk_bytes", "peak_memory_bytes", "flops", "seconds")
    return [{key: value for key, value in asdict(stage).items() if key in keys} for stage in stages]


def table(stages: Sequence[Stage], size: Size) -> str:
    """Return the stages as lines of text; those that do not fit say what to set."""
    lines = [f"{'stage':44} {'rows':>15} {'disk':>9} {'memory':>9} {'Tflop':>11} {'time':>9}"]
    for stage in (*stages, _total(stages)):
        figures = f"{stage.rows:>15,} {_bytes(stage.disk_bytes):>9} {_bytes(stage.peak_memory_bytes):>9}"
        lines.append(f"{stage.stage:44} {figures} {stage.flops / 1e12:>11,.1f} {_time(stage.seconds):>9}")
    for stage in too_large(stages, size):
        share = _bytes(size.memory_bytes // size.processes)
        lines.append(f"does not fit: {stage.stage} needs {_bytes(stage.peak_memory_bytes)} of {share}: {stage.setting}")
    for stage in stages:
        if stage.seconds > LONG and stage.setting:
            lines.append(f"takes long: {stage.stage}, {_time(stage.seconds)}: {stage.setting}, or take more machines")
    return "\n".join(lines)


def _total(stages: Sequence[Stage]) -> Stage:
    peak = max(stage.peak_memory_bytes for stage in stages)
    sums = [sum(getattr(stage, key) for stage in stages) for key in ("disk_bytes", "flops", "seconds")]
    return Stage("total", 0, int(sums[0]), peak, int(sums[1]), float(sums[2]), "")


def _bytes(number: int) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1_000:
            return f"{number:.3g} {unit}"
        number = number / 1_000  # type: ignore[assignment]
    return f"{number:.4g} TB"


def _time(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:.1f} s"


@dataclass
class _Planner:
    recipe: config.Recipe
    size: Size
    rates: Rates

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

    def training(self) -> Iterator[Stage]:
        """Yield the training of each network."""
        for member in self.recipe.trained:
            for stage in member.stages:
                side = stage.image_size or member.image_size
                views = len(stage.views) + 1 if stage.data.anchors == "train" else 2 + stage.data.negatives_per_anchor
                images = (stage.stop_after or stage.epochs) * (stage.images_per_epoch or self.size.train)
                once = self.passes[member.name] * (side / max(member.scales or (member.image_size,))) ** 2
                held = (stage.micro_batch or stage.batch_images) * views / max(1, self.gpus or 1)
                yield self.stage(
                    f"train {member.name} {stage.name}, views",
                    images * views,
                    network=_BACKWARD * once * images * views,
                    cores=images * views / self.rates.edits,
                    memory=held * side * side * 3 * 4 * 24,
                    setting=f"set members.{member.name}.stages.{stage.name}.micro_batch",
                )
        if self.recipe.detector:
            detector = self.recipe.detector
            images = detector.epochs * (detector.images_per_epoch or self.size.train)
            seconds = images / self.rates.edits
            yield self.stage(f"train {detector.name}, images", images, network=images * 3e9 * _BACKWARD, cores=seconds)
        for pair in self.recipe.pair_networks:
            for part in pair.stages:
                images = part.groups * part.group
                yield self.stage(
                    f"train {pair.name} {part.name}, pairs",
                    images,
                    network=_BACKWARD * pair_operations(pair) * images,
                    cores=2 * images / self.rates.edits,
                )

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
            if isinstance(branch, config.Local) and role is not Role.TRAIN:
                kind = branch.keypoints, branch.of if role is Role.QUERY else "image"
                if kind in seen:  # branches with the same settings share them
                    continue
                seen.add(kind)
                points = min(branch.keypoints.points or POINTS, POINTS)
                seconds = images / self.rates.points
                name = f"keypoints {image_set} {branch.name}, images"
                yield self.stage(name, images, disk=images * points * _POINT_BYTES, cores=seconds)
            if isinstance(branch, config.Asmk):
                disk = images * branch.features * (branch.words and 20)
                yield self.stage(f"codes {image_set} {branch.name}, images", images, disk=disk, network=images * 2e11)
        if "proposals" in sets:
            yield self.stage(f"proposals {image_set}, images", images, cores=images / self.rates.proposals)
        if "overlays" in sets:
            yield self.stage(f"overlays {image_set}, images", images, network=images * 3e9)

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
        listed: dict[str, float] = {}
        for branch in self.recipe.matching.branches:
            if isinstance(branch, config.Local):
                taken = sum(listed[name] for name in branch.takes)
                yield from self.local(branch, taken)
                listed[branch.name] = MAX_ROWS
            elif isinstance(branch, config.Pairs):
                pairs = sum(listed[name] for name in branch.takes)
                network = pairs * sum(map(pair_operations, branch.networks)) * (1 + len(branch.views))
                yield self.stage(f"{branch.name}: networks, pairs", pairs, network=network, memory=pairs * _PAIR)
                listed[branch.name] = pairs
            elif isinstance(branch, config.Views | config.Agreement):
                yield from self.searches(branch)
                listed[branch.name] = self.listed(branch) / self.alike(branch)
            else:
                shared = self.size.queries * self.size.references * 0.01
                yield self.stage(f"{branch.name}: shared words, pairs", shared, cores=shared / 1e7)
                listed[branch.name] = shared

    def searches(self, branch: config.Views | config.Agreement) -> Iterator[Stage]:
        """Yield a search of all views for each space of a branch."""
        every = tuple(self.widths)
        own = list(branch.spaces(every))
        widths = [space.space.dim or sum(self.widths[name] for name in space.members) for space in own]
        sides = [self.views(role, *branch.view_sets(role)) for role in (Role.QUERY, Role.REFERENCE)]
        left, right = self.size.queries * sides[0], self.size.references * sides[1]
        for key, width in zip([s.key for s in own] or [branch.name], widths or [self.recipe.ensemble.dim], strict=True):
            rows = self.listed(branch) / (self.alike(branch) if branch.kind == "views" else 1)
            yield self.stage(
                f"{branch.name}: search {key}, rows",
                rows,
                disk=(left + right) * width * 4,
                memory=rows * _PAIR * 2 + (left + right) * _KEY + 65_536 * width * 4 * 2,
                products=2.0 * left * (right + (self.size.train if branch.norm_factor else 0)) * (width + 3),
                setting=f"set matching.branches.{branch.name}.cut",
            )

    def alike(self, branch: config.Views | config.Agreement) -> float:
        """Return how many of the listed pairs of views are of the same images: half of all that two images have.

        With the default on `disc_mini`, 57 of 114.
        """
        sides = (self.views(role, *branch.view_sets(role)) for role in (Role.QUERY, Role.REFERENCE))
        return max(1.0, math.prod(sides) / 2)

    def listed(self, branch: config.Views | config.Agreement) -> float:
        """Return the rows that a branch lists, expected."""
        cut, queries = branch.cut, self.size.queries
        sides = [self.views(role, *branch.view_sets(role)) for role in (Role.QUERY, Role.REFERENCE)]
        if cut.by == "share":
            return queries * min(cut.most, cut.amount * math.prod(sides) * self.size.references)
        return queries * cut.amount * (sides[0] if cut.by == "neighbours" else 1)

    def local(self, branch: config.Local, taken: float) -> Iterator[Stage]:
        """Yield index, votes and verification of local features."""
        vote, sides = branch.vote, 2 if branch.verify.mirrored else 1
        points = min(branch.keypoints.points or POINTS, POINTS)
        asked, there = self.size.queries * points, self.size.references * points
        if vote is not None and vote.index == "codes":
            words = vote.lists or words_for(there)
            yield self.stage(
                f"{branch.name}: index, points",
                there,
                disk=there * _ENTRY_BYTES,
                memory=min(there, 1 << 26) * 40,
                products=2.0 * there * 128 * 3 * math.sqrt(words),
                setting="set extract.shard_images",
            )
            looked = asked * sides * vote.probes * there / words * 1.5
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
            share = 1.0 if vote.index == "exact" else 1.5 * vote.probes / vote.lists
            pairs = asked * (2 if vote.mirrored else 1) * there * share
            yield self.stage(
                f"{branch.name}: votes, pairs of points",
                pairs,
                products=2.0 * pairs * 128,
                cores=pairs / 1e9,
                memory=4 << 30,
                setting=f"set matching.branches.{branch.name}.vote.index=codes",
            )
            taken += self.size.queries * (1 if vote.by == "nearest" else self.size.references * 4e-3)
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
