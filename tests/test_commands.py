"""The command line as a person meets it: verbs and their table, help, version, completion, exit codes, logging."""

import logging
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

import isckit
from isckit import config
from isckit.cli.main import app, main
from isckit.recipes import catalogue

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs/commands.md").read_text()
README = (ROOT / "README.md").read_text()


def leaves(command, path=(), panel=None):
    """Every verb of the app: its words, and the command with the panel of the help that it stands in."""
    panel = getattr(command, "rich_help_panel", None) or panel
    inner = getattr(command, "commands", None)
    if inner is None:
        return {path: (command, panel)}
    return {words: verb for name, sub in inner.items() for words, verb in leaves(sub, (*path, name), panel).items()}


VERBS = leaves(typer.main.get_command(app))


def options(command):
    return {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}


def required(command):
    return {parameter.opts[-1] for parameter in command.params if parameter.required and parameter.opts[-1][0] == "-"}


def verb_of(text):
    """The words of the verb that a command line begins with."""
    words = text.split()[1:]
    return next((tuple(words[:n]) for n in (1, 2) if tuple(words[:n]) in VERBS), None)


ROWS = [
    (panel, line)
    for panel, section in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", DOCUMENT, re.S | re.M)
    for line in re.findall(r"^\| `(isckit (?:[^`])+)` \|", section, re.M)
]


def test_the_verbs_are_the_documented_ones():
    assert {" ".join(words) for words in VERBS} == {
        "doctor", "train", "extract", "fit", "descriptor", "matching", "freeze", "frozen", "score", "check", "manifest",
        "infer", "describe", "export", "ablate", "plan", "baselines", "breakdown", "detect", "augment show",
        "data synthetic", "data sheet", "data pack", "recipes list", "recipes show", "recipes fidelity",
        "audit verify", "audit replay", "audit diff", "ledger add", "ledger report", "ledger show",
    }  # fmt: skip
    assert {verb_of(line) for _, line in ROWS} == set(VERBS)
    assert "docs/commands.md" in README


@pytest.mark.parametrize(("panel", "line"), ROWS)
def test_a_row_of_the_table_names_a_verb_in_its_panel_and_options_that_it_has(panel, line):
    verb = verb_of(line)
    assert verb in VERBS, line
    command, stands_in = VERBS[verb]
    assert panel == stands_in
    named = set(re.findall(r"--[a-z-]+", line))
    assert required(command) <= named <= options(command), line


@pytest.mark.parametrize("text", [DOCUMENT, README], ids=["commands.md", "README.md"])
def test_every_command_in_the_text_exists_with_the_options_it_mentions(text):
    spans = re.findall(r"`(isckit [^`]+)`", text) + re.findall(r"^(?:\.venv/bin/)?(isckit [^#\n]+)", text, re.M)
    assert spans
    for line in spans:
        verb = verb_of(line.replace("|", " ").replace("\\", " "))
        named = set(re.findall(r"--[a-z-]+", line))
        if verb is None:
            assert named <= options(typer.main.get_command(app)) | {"--help"}, line
        else:
            assert named <= options(VERBS[verb][0]) | {"--help"}, line


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_begins_with_the_summary_and_ends_with_an_example_on_one_line(verb, flag, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main([*verb, flag]) == 0
    shown = capsys.readouterr().out
    command, _ = VERBS[verb]
    flat = " ".join(shown.split())
    assert " ".join(command.help.split()) in flat
    assert command.epilog in shown and flat.endswith(command.epilog)
    assert shown.index(command.help.split()[0]) < shown.index("Options")


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_an_example_is_a_command_line_that_its_verb_takes(verb):
    command, _ = VERBS[verb]
    words = shlex.split(command.epilog.removeprefix("Example: isckit "))
    assert tuple(words[: len(verb)]) == verb
    command.make_context("isckit", words[len(verb) :])


def test_the_help_is_grouped_and_says_each_verb_once(capsys):
    for line in ([], ["-h"], ["--help"]):
        assert main(line) == (0 if line else 2)
        shown = capsys.readouterr()
        titles = re.findall(r"^╭─ (.+?) ─", shown.out + shown.err, re.M)
        assert titles == ["Options", "Data", "Run", "Submit", "Judge", "Look and compare"]


def test_the_version_is_the_packages(capsys):
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"isckit {version('isckit')}\n" == f"isckit {isckit.__version__}\n"


@pytest.mark.parametrize(
    "line", [["nonsense"], ["doctor"], ["train", "--nonsense"], ["fit", "--name"], ["data"], ["score", "/nowhere"]]
)
def test_a_wrong_line_has_exit_code_2(line, capsys):
    assert main(line) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_completion_is_shown_and_completes_verbs_and_options():
    program = f"{shlex.quote(sys.executable)} -m isckit"
    shown = subprocess.run(
        ["bash", "-c", f"{program} --show-completion bash; true"], capture_output=True, text=True, check=True
    )
    assert "complete -o default -F _isckit_completion isckit" in shown.stdout, shown.stderr

    def completed(words):
        asked = {"_ISCKIT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
        command = [sys.executable, "-m", "isckit"]
        return subprocess.run(
            command, env=os.environ | asked, capture_output=True, text=True, check=False
        ).stdout.split()

    assert completed("isckit desc") == ["describe", "descriptor"]
    assert completed("isckit audit re") == ["replay"]
    assert completed("isckit fit --n") == ["--name"]


@pytest.fixture
def levels():
    """Levels of the loggers, as they were before."""
    loggers = [logging.getLogger(name) for name in (None, "isckit", "matplotlib.font_manager")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.mark.usefixtures("levels")
def test_only_the_kits_own_loggers_inform_unless_asked(capsys):
    others = [logging.getLogger(name) for name in ("faiss.loader", "timm.models", "PIL.Image", "elsewhere")]
    kit = logging.getLogger("isckit.tracks.descriptor")
    for line, heard in ((["recipes", "list"], False), (["-v", "recipes", "list"], True), (["recipes", "list"], False)):
        assert main(line) == 0
        assert kit.isEnabledFor(logging.INFO)
        assert [other.isEnabledFor(logging.INFO) for other in others] == [heard] * len(others)
        assert all(other.isEnabledFor(logging.WARNING) for other in others)


@pytest.mark.parametrize(("flags", "chatter"), [([], False), (["--verbose"], True)])
def test_what_other_libraries_say_while_they_load_is_not_shown(flags, chatter):
    code = (
        "import sys, logging; from isckit.cli.main import main; code = main([*sys.argv[1:], 'recipes', 'list']);"
        "import faiss, albumentations; logging.getLogger('isckit.x').info('of the kit'); sys.exit(code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *flags],
        env=os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("faiss" in ended.stderr) == chatter and ended.stderr.endswith("of the kit\n")
    assert chatter or ended.stderr == "of the kit\n"


def test_recipes_list_says_each_recipe_in_a_line(capsys):
    assert main(["recipes", "list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(catalogue.RECIPES)


def test_the_documents_own_recipes_are_recipes(tmp_path):
    found = {}
    for name, text in re.findall(r"^```\w+\n# (mine\.\w+)\n(.*?)^```", DOCUMENT, re.S | re.M):
        (tmp_path / name).write_text(text)
        found[name] = catalogue.recipe(str(tmp_path / name))
    settings = ["name=mine", "members.network.image_size=224", "normalise.subtract.beta=0.3"]
    settings += ["members.network.stages.v83.images_per_epoch=100000"]
    assert found == {
        "mine.yaml": catalogue.recipe("lyakaap", settings=settings),
        "mine.py": catalogue.recipe("ours_matching", settings=["name=mine", "ensemble.dim=128"]),
    }
    assert config.digest(found["mine.py"]) != config.digest(catalogue.recipe("ours_matching"))


def test_an_option_that_a_message_advises_is_one_of_the_verb_that_it_names():
    """Where no verb is named, the option is one of some verb or of a run script."""
    scripts = set(re.findall(r"--[a-z][\w-]*", "".join(path.read_text() for path in ROOT.glob("*.sh"))))
    known = scripts.union(
        {"--help", "--shm-size", "--verbose", "--version"}, *(options(command) for command, _ in VERBS.values())
    )
    advised = 0
    for path in sorted((ROOT / "src").rglob("*.py")):
        for text in re.findall(r'"([^"\n]*--[a-z][^"\n]*)"', path.read_text()):
            if " " not in text or path.name == "isolate.py":  # no message; a program of its own
                continue
            before, _, words = text.rpartition("isckit ")
            verb = verb_of(f"isckit {words}") if before or words != text else None
            allowed = options(VERBS[verb][0]) | {"--help"} if verb else known
            found = set(re.findall(r"--[a-z][\w-]*", words))
            advised += len(found)
            assert found <= allowed, (path.name, text, found - allowed)
    assert advised > 80
