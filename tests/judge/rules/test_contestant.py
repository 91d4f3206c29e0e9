import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from isckit.judge.rules.experiments.contestant import Drawn, ask, fill, start
from isckit.types import BadInput

PYTHON = shlex.quote(sys.executable)


def test_values_with_blanks_and_quotes_stay_one_word():
    assert fill(["--a", "{x}", "{x}/y"], {"x": "some 'folder' \"here\""}) == [
        "--a", "some 'folder' \"here\"", "some 'folder' \"here\"/y",
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["{nothing}", "{", "{0}"])
def test_an_unknown_placeholder_is_named_with_those_allowed(word):
    with pytest.raises(BadInput, match=r"placeholder") as error:
        fill([word], {"out": 1, "queries": 2})
    assert "{out} {queries}" in error.value.allowed


def test_a_failing_command_is_told_with_its_last_lines():
    with pytest.raises(BadInput, match="code 3") as error:
        start(f"{PYTHON} -c 'import sys; print(\"word one\"); sys.exit(3)'", {})
    assert "word one" in error.value.seen


def test_no_such_program_is_a_clear_error():
    with pytest.raises(BadInput, match="no-such-program"):
        start("no-such-program {x}", {"x": 1})


def test_threads_reach_the_process(tmp_path):
    code = "import os, sys; open(sys.argv[1], 'w').write(os.environ['OMP_NUM_THREADS'])"
    start(f'{PYTHON} -c "{code}" {{out}}', {"out": tmp_path / "threads"}, threads=7)
    assert (tmp_path / "threads").read_text() == "7"


def test_images_are_laid_out_byte_for_byte_under_their_names(disc, tmp_path):
    drawn = Drawn(disc.references, np.array([3, 1]), np.array(["R000100", "R000050"]))
    drawn.lay_out(tmp_path / "new")
    laid = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert laid == {"R000100.jpg": disc.references.read(3), "R000050.jpg": disc.references.read(1)}
    assert drawn.ids.tolist() == ["R000003", "R000001"]


def test_a_pipeline_that_writes_nothing_is_refused(disc, tmp_path):
    drawn = Drawn.as_they_are(disc.references, np.array([0]))
    with pytest.raises(BadInput, match=r"neither descriptors\.h5 nor matching\.csv"):
        ask("true {out}", drawn, drawn, folder=tmp_path, batch=1, name="n", root=Path())


def test_the_answer_is_what_the_pipeline_wrote(disc, tmp_path):
    queries = Drawn(disc.queries, np.array([0, 1]), np.array(["Q00009", "Q00008"]))
    references = Drawn.as_they_are(disc.references, np.array([0]))
    script = tmp_path / "pipeline.py"
    script.write_text(
        "import os, sys\nq, r, out = sys.argv[1:]\nrows = ['query_id,reference_id,score']\n"
        "rows += [f'{a[:-4]},{b[:-4]},0.5' for a in os.listdir(q) for b in os.listdir(r)]\n"
        "open(out + '/matching.csv', 'w').write('\\n'.join(rows) + '\\n')\n"
    )
    template = f"{PYTHON} {shlex.quote(str(script))} {{queries}} {{references}} {{out}}"
    answer = ask(template, queries, references, folder=tmp_path / "here", batch=1, name="n", root=Path())
    assert answer.scores == {("Q00008", "R000000"): 0.5, ("Q00009", "R000000"): 0.5} and answer.queries is None


@pytest.mark.parametrize("show", [False, True])
def test_words_on_the_error_stream_are_kept_or_shown(show, capfd):
    with pytest.raises(BadInput) as error:
        start(f"{PYTHON} -c 'import sys; sys.exit(\"progress\")'", {}, show=show)
    assert ("progress" in capfd.readouterr().err) == show
    assert ("messages stand above" in error.value.seen) == show
