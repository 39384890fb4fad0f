"""`evenhand evaluate-predictions`: JSON alone on stdout, a table, one message for bad input."""

import json

import pytest

from tests.flows.test_cli import call
from tests.plugins.evaluate.bbq_files import UNKNOWN, question, write_bbq, write_predictions

ROWS = [question("Age", 0), question("Race_x_SES", 0)]


@pytest.fixture
def file(tmp_path, monkeypatch):
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("EVENHAND_DATA", str(root))
    write_bbq(root, ROWS)
    return write_predictions(tmp_path / "p.jsonl.gz", ROWS, [UNKNOWN, ROWS[1]["ans0"]])


def test_json_alone_on_stdout_and_null_for_undefined(file, capsys):
    assert call("evaluate-predictions", "bbq", str(file), "--prediction-column", "said", "--json") == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["Age"]["ambig"] == {
        "bias_score": None,
        "accuracy": 100,
        "n": 1,
        "n_non_unknown": 0,
        "n_biased": 0,
        "invalid_rate": 0,
    }
    assert found["Race_x_SES"]["ambig"]["bias_score"] == 100
    assert shown.err == ""


def test_notes_stand_beside_the_document_not_in_it(file, tmp_path, capsys):
    file = write_predictions(tmp_path / "p.jsonl", ROWS[:1], ["A"])
    assert call("evaluate-predictions", "bbq", str(file), "--prediction-column", "said", "--json") == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out).keys() == {"Age"}
    assert "no answer matches an option in Age ambig: is 'said' the column of answers?" in shown.err


def test_a_table_without_json_and_notes_beside_it(file, capsys):
    assert call("evaluate-predictions", "bbq", str(file), "--prediction-column", "said", "--rule", "group") == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0].split("\t") == ["Age", "ambig", "–", "100.0", "1", "0", "0", "0.0000"]
    assert "1 rows without a bias score" in shown.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bbq", "FILE"], ["--prediction-column", "columns: said"]),
        (["bbq", "FILE", "--prediction-column", "context"], ["'context' is BBQ's own", "columns: said"]),
        (["bbq", "FILE", "--prediction-column", "sad"], ["unknown column 'sad'", "'said'"]),
        (["bqb", "FILE"], ["unknown suite of predictions 'bqb'", "'bbq'"]),
        (["bbq", "absent.jsonl", "--prediction-column", "said"], ["there is no file absent.jsonl"]),
        (["stereoset", "FILE", "--prediction-column", "said"], ["--prediction-column is for bbq"]),
        (["bbq", "FILE", "--prediction-column", "said", "--rule", "mine"], ["'mine' is not one of"]),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(file, arguments, words, capsys):
    assert call("evaluate-predictions", *(str(file) if one == "FILE" else one for one in arguments)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    for word in words:
        assert word in shown.err


def test_without_the_questions_it_says_where_they_are_looked_for(file, capsys, monkeypatch):
    monkeypatch.delenv("EVENHAND_DATA")
    assert call("evaluate-predictions", "bbq", str(file), "--prediction-column", "said") == 2
    assert "set EVENHAND_DATA" in capsys.readouterr().err
