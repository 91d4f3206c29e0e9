"""What each ensemble member brings: uAP of GIST, of the network untrained and trained, and of their ensembles.

Reads two runs of one recipe that went through phase 1, one of them untrained:
    ./run_phase1.sh --data DIR --name first
    ./run_phase1.sh --data DIR --name untrained --set "members.network.stages=[]"
    .venv/bin/python benchmarks/members.py --data DIR --trained first --untrained untrained
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from isckit.data.ground_truth import read_ground_truth
from isckit.data.layouts import open_disc
from isckit.judge.score import descriptor_matches, score_matches
from isckit.tracks.matching import match
from isckit.tracks.run import Run, ensembled, resume, train_vectors
from isckit.types import WHOLE, GroundTruth
from isckit.vectors.ensemble import fit_projection
from isckit.vectors.normalise import fit_normaliser, normalise
from isckit.workspace import Workspace


def subset(run: Run, *names: str) -> Run:
    """The same run with some of its members."""
    members = tuple(member for member in run.recipe.members if member.name in names)
    return dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, members=members))


def figures(run: Run, truth: GroundTruth) -> list[str]:
    """uAP / Recall@P90 of both tracks, each without and with normalisation against train."""
    pca = fit_projection(train_vectors(run), run.recipe.ensemble)
    bank, queries, references = (ensembled(run, name, pca=pca) for name in ("train", "queries", "references"))
    cells = []
    for steps in ((), run.recipe.normalise):
        normaliser = fit_normaliser(bank, steps)
        sides = [normalise(side.only(WHOLE), normaliser) for side in (queries, references)]
        matches, _ = descriptor_matches(*sides, truth)
        cells.append(score_matches(matches, truth, max_rows=len(matches)))
    for factor in (0.0, run.recipe.matching.norm_factor):
        how = dataclasses.replace(run.recipe.matching, norm_factor=factor)
        varied = dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, matching=how))
        matches = match(varied, queries, references, bank, rows=how.rows_per_query * len(np.unique(queries.ids)))
        cells.append(score_matches(matches, truth, phase_queries=queries.ids))
    return [f"{report.average_precision:.4f} / {report.recall_at_p90:.4f}" for report in cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--trained", required=True)
    parser.add_argument("--untrained", required=True)
    given = parser.parse_args()
    truth = read_ground_truth(open_disc(given.data).ground_truth[1])
    trained, untrained = (resume(Workspace(Path()), name) for name in (given.trained, given.untrained))
    rows = {
        "GIST alone": subset(trained, "gist"),
        "network, untrained": subset(untrained, "network"),
        "network, trained": subset(trained, "network"),
        "ensemble, untrained network": untrained,
        "ensemble, trained network": trained,
    }
    print(f"uAP / Recall@P90, {len(truth.listed_queries)} labelled queries, {len(truth.query_ids)} true pairs\n")
    print("| | descriptor | descriptor, normalised | matching, views | matching, views, normalised |")
    print("|---|---|---|---|---|")
    for name, run in rows.items():
        print(f"| {name} | {' | '.join(figures(run, truth))} |", flush=True)


if __name__ == "__main__":
    main()
