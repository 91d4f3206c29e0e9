"""`isckit VERB`: thin doors. Each verb reads its arguments, calls one function, and prints what a person wants to know.

Heavy libraries are imported inside the verbs, so that help, checks and scores start at once.
"""

import logging
import os
import sys

import typer

from isckit.cli import judging, material, runs
from isckit.cli import judging as auditing
from isckit.cli import judging as ledgers
from isckit.cli import judging as replaying
from isckit.cli import material as packing
from isckit.cli import tools as augmenting
from isckit.cli import tools as baselines
from isckit.cli import tools as breakdown
from isckit.cli import tools as interop

app = typer.Typer(
    name="isckit",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Submission kit for the Image Similarity Challenge 2021 (DISC21): describe, match, score, check.",
)
data = typer.Typer(no_args_is_help=True, help="Make data sets.")
augment = typer.Typer(no_args_is_help=True, help="Look at the edits that training makes.")
audit = typer.Typer(no_args_is_help=True, help="Prove and explain what a submission was made from.")
ledger = typer.Typer(no_args_is_help=True, help="Keep account of what was handed in.")
recipes = typer.Typer(no_args_is_help=True, help="List and show recipes.")
app.command()(judging.doctor)
for verb in (runs.train, runs.extract, runs.fit, runs.descriptor, runs.matching, runs.infer, runs.freeze, runs.frozen):
    app.command()(verb)
for verb in (judging.score, judging.check, auditing.manifest):
    app.command()(verb)
for verb in (
    interop.describe,
    interop.detect,
    interop.export,
    interop.ablate,
    baselines.baselines,
    breakdown.breakdown,
):
    app.command()(verb)
augment.command("show")(augmenting.augment_show)
data.command()(material.synthetic)
data.command()(material.sheet)
data.command()(packing.pack)
recipes.command("list")(material.recipes_list)
recipes.command("show")(material.recipes_show)
audit.command("verify")(auditing.verify)
audit.command("diff")(auditing.diff)
audit.command("replay")(replaying.replay)
ledger.command("add")(ledgers.ledger_add)
ledger.command("report")(ledgers.ledger_report)
ledger.command("show")(ledgers.ledger_show)
app.add_typer(audit, name="audit")
app.add_typer(augment, name="augment")
app.add_typer(data, name="data")
app.add_typer(ledger, name="ledger")
app.add_typer(recipes, name="recipes")


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 well, 1 the judged thing failed, 2 wrong input."""
    # Threads that wait by spinning take the cores from the loader processes: on two cores a quarter of the speed.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        app(args=argv, prog_name="isckit")
    except SystemExit as end:
        return int(end.code or 0)
    return 0
