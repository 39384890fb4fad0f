"""D6, D18: YAML is read as it is written, or refused with its line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.checks.overrides import apply_overrides
from pipeline_core.checks.whole import load_config
from pipeline_core.data.catalog import Catalog
from pipeline_core.errors import BadInput, quoted
from pipeline_core.files.yaml_files import parse_yaml, read_yaml

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(ROOT.glob("data_catalog/**/*.yaml"))


def read(text):
    return parse_yaml(text.encode(), "my.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("policy: dpo\nseeds: [0]\npolicy: ipo\n", r"line 3: the key 'policy' stands in line 1 already"),
        ("a:\n  b:\n    - {c: 1}\n    - {c: 1,\n       c: 2}\n", r"line 5: the key 'c' stands in line 4 already"),
        ("a: {x: 1, x: 1}\n", r"line 1: the key 'x' stands in line 1 already"),
        ("1: a\n'1': b\n", r"line 2: the key '1' stands in line 1 already"),
        ("x: &x {a: 1}\ny:\n  <<: *x\n  b: 1\n  b: 2\n", r"line 5: the key 'b' stands in line 4 already"),
        ("x: &x {a: 1}\ny:\n  <<: *x\n  <<: {b: 2}\n", r"line 4: the key '<<' stands in line 3 already"),
        ("x: &x {a: 1, a: 2}\ny: *x\n", r"line 1: the key 'a' stands"),
        ("seeds: [010]\n", r"line 1: '010' begins with a zero: it is 8 to some readers of YAML and 10 to others"),
        ("a:\n- 08\n", r"line 2: '08' begins with a zero: it is 8; write"),
        ("a: -0010\n", r"'-0010' begins with a zero"),
        ("a: !!int x\n", r"line 1: 'x' is no whole number"),
        ("a: !!int 010\n", r"line 1: '010' begins with a zero"),
        ("a: !!float x\n", r"line 1: 'x' is no number"),
        ("a: !!bool maybe\n", r"line 1: 'maybe' is neither true nor false"),
        ("a: !!timestamp x\n", r"line 1: the tag '!!timestamp' is not taken here"),
        ("a: !!python/object:os.system x\n", r"the tag '!!python/object:os.system' is not taken here"),
        ("a: !!set {b}\n", r"the tag '!!set' is not taken here"),
        ("a: !mine b\n", r"the tag '!mine' is not taken here"),
        ("a: 1\nb: " + "9" * 5000 + "\n", r"line 2: '9999.*\(5,002 characters\) is too large for a number"),
        ("a: 9223372036854775808\n", r"too large for a number; a text takes quotes"),
        ("? [a]\n: b\n", r"line 1: a key must be a text"),
        ("a: &a [*a]\n", r"line 1: 'a' refers to itself"),
        ("a: &a {b: {c: *a}}\n", r"'a' refers to itself"),
        ("[" * 2000, r"line 1: values are nested deeper than 60 levels"),
        ("".join(" " * n + "a:\n" for n in range(200)), r"line 60: values are nested deeper"),
        (
            "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40 + "\n",
            r"line 2: aliases stand for too",
        ),
        ("a: \x01\n", r"line 1: character U\+0001 is not allowed"),
        ('a: b\nc: "\\ud800"\n', r"line 2: holds half of a character \(the lone surrogate \\ud800\)"),
        ('a: "\\0"\n', r"character U\+0000 is no text"),
        ("a: [\n", r"line 2 is not YAML: "),
        ("a: 1\n--- b\n", r"line 2 is not YAML: "),
        ("a: *" + "x" * 5000 + "\n", r"is not YAML: found undefined alias"),
    ],
)
def test_d6_d18_what_can_be_misread_is_refused_with_its_line(text, words):
    with pytest.raises(BadInput, match=f"^my.yaml.*{words}") as caught:
        read(text)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_d18_aliases_that_stand_for_a_billion_values_are_refused_at_once():
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    with pytest.raises(BadInput, match=r"line \d: aliases stand for too many values"):
        read(bomb)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *((word, word) for word in ("no", "NO", "yes", "on", "off", "y", "N", "2026-01-01", "2026-99-99", "1:30", "=")),
        *((word, word) for word in ("1_000", "0x1f", "0o10", "0b11", "1e5", "1e-5", "+", "1.2.3", "12e", ".", "0.1.")),
        *((word, word) for word in ("2026-01-01 10:00:00+99:00", "190:20:30", "1__0", "١")),
        *(("0", 0), ("-0", 0), ("+7", 7), ("-12", -12), ("9223372036854775807", 2**63 - 1)),
        *((".5", 0.5), ("1.", 1.0), ("01.50", 1.5), ("1.5e-3", 0.0015), ("-.inf", float("-inf")), ("1.0e+16", 1e16)),
        *(("true", True), ("False", False), ("~", None), ("null", None), ("", None)),
        *(
            ("'010'", "010"),
            ('"no"', "no"),
            ("!!str 010", "010"),
            ("!!str no", "no"),
            ("!!float 1", 1.0),
            ("!!bool TRUE", True),
        ),
    ],
)
def test_d6_each_value_is_what_stands_there(written, meant):
    for found in (read(f"a: {written}\n")["a"], read(f"[{written}]")[0] if written else meant):
        assert found == meant and type(found) is type(meant)


def test_d6_settings_read_the_words_that_are_texts_now():
    changes = ["policy.dpo.append_eos=no", "policy.dpo.steps=1_000", "policy.dpo.learning_rate=1e-5", "description=no"]
    config = load_config("smoke", changes)
    assert (config.policy[0].append_eos, config.policy[0].steps, config.policy[0].learning_rate) == (False, 1000, 1e-5)
    assert config.description == "no"


def test_d6_merge_keys_keep_their_meaning():
    text = """
    one: &one {a: 1, b: 1}
    two: &two {b: 2, c: 2}
    own: {<<: *one, b: 3}
    both: {<<: [*one, *two], d: 4}
    chain: &chain {<<: *two, c: 5}
    far: {x: {<<: *chain, b: 6}}
    """
    found = read(text)
    assert found["own"] == {"a": 1, "b": 3}
    assert found["both"] == {"a": 1, "b": 1, "c": 2, "d": 4}
    assert found["far"] == {"x": {"b": 6, "c": 5}}
    assert read("a: &a [1]\nb: *a\n") == {"a": [1], "b": [1]}
    assert read("a: &a 5\n*a : b\n") == {"a": 5, "5": "b"}


def test_d6_an_override_changes_the_entry_it_names_and_none_that_shares_its_settings():
    entries = "policy:\n- &a {name: dpo, label: one, validation: {every: 5}}\n- {<<: *a, label: two}\n- *a\n"
    changed = apply_overrides(read(entries), ["policy.two.validation.every=9", "policy.2.label=three"])["policy"]
    assert [(entry["label"], entry["validation"]["every"]) for entry in changed] == [
        ("one", 5),
        ("two", 9),
        ("three", 5),
    ]
    given = apply_overrides(read(entries), ["policy=[&a {name: dpo, x: {y: 1}}, *a]", "policy.1.x.y=2"])["policy"]
    assert [entry["x"]["y"] for entry in given] == [1, 2]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_d6_what_is_shipped_reads_as_before(file):
    assert json.dumps(read_yaml(file)) == json.dumps(yaml.safe_load(file.read_bytes()))


SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
BREAKS = "\x85\u2028\u2029"  # lines end there in YAML 1.1, and PyYAML writes them as they are
TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0" + BREAKS), max_size=8)
DOCUMENTS = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=40)
@given(DOCUMENTS)
def test_d6_what_others_write_is_read_back(document):
    assert parse_yaml(yaml.safe_dump(document, allow_unicode=True).encode(), "x") == document
    text = json.dumps(document)
    # a character that YAML takes with a backslash only; numbers like 1e-05 and Infinity, which are texts in YAML 1.1
    if "\x7f" not in text and not re.search(r"(?<![.\d])\d+e[-+]|Infinity", text):
        assert parse_yaml(text.encode(), "x") == document


def test_d6_an_entry_twice_in_a_catalog(tmp_path, monkeypatch):
    about = "kind: jsonl, rows: text, path: a.jsonl, licence: none, citation: none"
    file = tmp_path / "mine.yaml"
    file.write_text(f"mine: {{{about}}}\nother: {{{about}}}\nmine: {{{about}}}\n")
    monkeypatch.setenv("EVENHAND_CATALOG", str(file))
    with pytest.raises(BadInput, match=r"mine\.yaml, line 3: the key 'mine' stands in line 1 already"):
        Catalog.from_environment()


def test_d6_values_that_are_picked_are_texts(tmp_path, monkeypatch):
    """Norway: `no` is a country."""
    about = "kind: jsonl, rows: text, path: a.jsonl, licence: none, citation: none"
    file = tmp_path / "mine.yaml"
    file.write_text(f"mine: {{{about}, pick: {{country: [no, se, on]}}, constants: {{domain: no}}}}\n")
    monkeypatch.setenv("EVENHAND_CATALOG", str(file))
    entry = Catalog.from_environment().entries["mine"]
    assert entry.pick == {"country": {"no": "no", "se": "se", "on": "on"}}
    assert entry.constants == {"domain": "no"}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("''", "names no file: a file or a pattern is needed"),
        ("'.'", r"'\.' names no file"),
        ("'**x'", r"in '\*\*x' `\*\*` must stand alone"),
        ("a/**b/c", r"in 'a/\*\*b/c' `\*\*` must stand alone"),
        ("[a.jsonl, '']", "names no file"),
        ("{train: '.'}", r"'\.' names no file"),
        ("' '", "' ' names no file"),
        ("x" * 300, "is longer than the name of a file can be"),
        ("'" + "**x" * 40_000 + "'", "characters"),
    ],
)
def test_d18_a_path_that_names_no_file_is_one_sentence(tmp_path, monkeypatch, path, words):
    file = tmp_path / "mine.yaml"
    file.write_text(f"mine:\n  kind: jsonl\n  rows: text\n  path: {path}\n  licence: none\n  citation: none\n")
    monkeypatch.setenv("EVENHAND_CATALOG", str(file))
    with pytest.raises(BadInput, match=rf"mine\.yaml: mine\.path: .*{words}") as caught:
        Catalog.from_environment()
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("place", ["²", "٣", "Ⅷ", "１", "9" * 5000, "-1", "+0"])
def test_d18_only_decimal_digits_are_a_position(place):
    with pytest.raises(BadInput, match="there is no entry|not of the form|has no keys") as caught:
        apply_overrides({"policy": ["dpo", "ipo"]}, [f"policy.{place}.beta=1"])
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "override",
    ["seeds=010", "seeds=[" + "[" * 3000, "policy.dpo.beta=!!int x", "seed=" + "9" * 100_000, "x" * 100_000, "a=*b"],
)
def test_d18_an_override_is_never_quoted_in_full_when_it_is_long(override):
    with pytest.raises(BadInput, match="^override ") as caught:
        load_config("smoke", [override])
    assert len(str(caught.value)) < 500


def test_d18_no_message_grows_with_what_was_given():
    long = "x" * 100_000
    for document in (
        {"base": long},
        {"base": {"name": "tiny_lm", "steps": long}},
        {long: 1},
        {"base": "tiny_lm", "name": long},
        {"base": "tiny_lm", "policy": [{"name": "dpo", long: 1}] * 50},
        {"base": "tiny_lm", "evaluate": [long] * 200},
        {"seeds": [long] * 1000},
        {"base": "tiny_lm", "data": "sandbox_pairs", "policy": {"name": "dpo", "label": long}},
        {"base": "tiny_lm", "data": {"entry": "sandbox_pairs", "stratify": [long]}, "policy": "dpo"},
    ):
        with pytest.raises(BadInput) as caught:
            load_config(document)
        assert len(str(caught.value)) < 2000
    assert quoted("short") == "'short'"
    assert len(quoted(long)) < 110 and "(100,002 characters)" in quoted(long)
