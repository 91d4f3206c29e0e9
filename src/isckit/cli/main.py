"""`isckit VERB`: thin doors. Each verb reads its arguments, calls one function, and prints what a person wants to know.

Heavy libraries are imported inside the verbs, so that help, checks and scores start at once.
"""

import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from isckit import __version__
from isckit.cli import judging, material, runs, tools
from isckit.cli.options import COMMAND_LINE

app = typer.Typer(
    name="isckit",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Submission kit for the Image Similarity Challenge 2021 (DISC21): describe, match, score, check.",
)
DATA, RUN, SUBMIT, JUDGE, COMPARE = "Data", "Run", "Submit", "Judge", "Look and compare"
"""Panels of the help, in its order."""


def _group(name: str, panel: str, about: str) -> typer.Typer:
    group = typer.Typer(no_args_is_help=True, help=about)
    app.add_typer(group, name=name, rich_help_panel=panel)
    return group


def _verb(verb: Callable[..., None], example: str, *, panel: str | None = None, group: typer.Typer = app) -> None:
    """Put a verb in its group, by the last word of its example's name."""
    path = example.split(" ")[: 1 if group is app else 2]
    group.command(path[-1], epilog=f"Example: isckit {example}", rich_help_panel=panel)(verb)


data = _group("data", DATA, "Make data sets.")
ledger = _group("ledger", SUBMIT, "Keep account of what was handed in.")
audit = _group("audit", JUDGE, "Prove and explain what a submission was made from.")
augment = _group("augment", COMPARE, "Look at the edits that training makes.")
recipes = _group("recipes", COMPARE, "List and show recipes.")

_verb(material.doctor, "doctor --data DISC21", panel=DATA)
_verb(material.synthetic, "data synthetic --from PHOTOS --out data/own", group=data)
_verb(material.sheet, "data sheet --data data/mini --out sheet.png", group=data)
_verb(material.pack, "data pack --data DISC21 --out packs --sets references", group=data)

_verb(runs.train, "train --name first --data DISC21 --recipe lyakaap", panel=RUN)
_verb(runs.extract, "extract --name first --data DISC21 --sets train", panel=RUN)
_verb(runs.fit, "fit --name first", panel=RUN)
_verb(runs.infer, "infer --queries SUSPECTS --references ORIGINALS --out FOUND", panel=RUN)
_verb(tools.describe, "describe FOLDER --out vectors.h5", panel=RUN)
_verb(tools.detect, "detect DISC21/queries --name overlays --out boxes.csv", panel=RUN)
_verb(tools.export, "export --name first --out network.onnx", panel=RUN)

_verb(runs.descriptor, "descriptor --name first --phase 1", panel=SUBMIT)
_verb(runs.matching, "matching --name first --phase 1", panel=SUBMIT)
_verb(runs.freeze, "freeze --name first", panel=SUBMIT)
_verb(runs.frozen, "frozen --name first", panel=SUBMIT)
_verb(judging.manifest, "manifest --name first --phase 1 --data DISC21", panel=SUBMIT)
_verb(judging.ledger_add, "ledger add submissions/phase2/first --track matching", group=ledger)
_verb(judging.ledger_report, "ledger report 2 --reported 0.635", group=ledger)
_verb(judging.ledger_show, "ledger show", group=ledger)

_verb(judging.check, "check submissions/phase1/first --data DISC21", panel=JUDGE)
_verb(judging.score, "score submissions/phase1/first --data DISC21", panel=JUDGE)
_verb(judging.verify, "audit verify submissions/phase1/first --data DISC21", group=audit)
_verb(judging.diff, "audit diff submissions/phase1/first submissions/phase1/new", group=audit)
_verb(judging.replay, "audit replay submissions/phase1/first --data DISC21", group=audit)

_verb(tools.breakdown, "breakdown submissions/phase1/own --data data/own --out by.md", panel=COMPARE)
_verb(tools.plan, "plan --recipe lyakaap --gpus 1 --cores 16", panel=COMPARE)
_verb(tools.baselines, "baselines --data DISC21 --recipe pdq --recipe gist", panel=COMPARE)
_verb(tools.ablate, "ablate first --data DISC21 --out ablation.md", panel=COMPARE)
_verb(material.augment_show, "augment show lyakaap.strong --image photo.jpg --out sheet.png", group=augment)
_verb(material.recipes_list, "recipes list", group=recipes)
_verb(material.recipes_show, "recipes show lyakaap.mini", group=recipes)
_verb(material.recipes_fidelity, "recipes fidelity", group=recipes)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"isckit {__version__}")
        raise typer.Exit


@app.callback()
def _always(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what other libraries report, too.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger().setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("isckit").setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.INFO if verbose else logging.ERROR)
    # It warns that it builds its cache, once on a new machine.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.INFO if verbose else logging.ERROR)


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 well, 1 the judged thing failed, 2 wrong input, 3 own fault."""
    # Threads that wait by spinning take the cores from the loader processes: on two cores a quarter of the speed.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    COMMAND_LINE[:] = sys.argv[1:] if argv is None else argv
    try:
        app(args=argv, prog_name="isckit")
    except SystemExit as end:
        return int(end.code or 0)
    return 0
