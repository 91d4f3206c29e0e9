"""Describe a folder of photographs, find its copies in another, and score the pairs; see `isckit.api`.

python examples/quickstart.py DATA     # a DISC21-shaped folder, for example of `isckit data synthetic --out DATA`
"""

import sys
from pathlib import Path

import isckit


def main(data: Path) -> float:
    """Print what the default model makes of a small set, and return its uAP."""
    model = isckit.load()  # checkpoints/default, which comes with the kit
    references, queries = data / "images/references", data / "images/queries"

    vectors = model.describe(references)
    print(f"{len(vectors.ids)} references, {vectors.vectors.shape[1]} values each")

    pairs = model.match(queries, references)
    best = pairs.scores.argmax()
    print(f"surest pair: {pairs.query_ids[best]} shows {pairs.reference_ids[best]}, score {pairs.scores[best]:.3f}")

    (truth,) = data.rglob("public_ground_truth.csv")
    report = isckit.score(pairs, truth)
    print(f"uAP {report.average_precision:.3f}, recall at precision 0.9 {report.recall_at_p90:.3f}")
    return report.average_precision


if __name__ == "__main__":
    main(Path(sys.argv[1]))
