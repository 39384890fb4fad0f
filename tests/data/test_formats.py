"""Data formats of installed packages, in catalog entries."""

import sys

import pytest

from pipeline_core.data.catalog import read_entries
from pipeline_core.data.formats import known
from pipeline_core.data.identity import identity_of
from pipeline_core.data.reading import _cache_key
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput
from pipeline_core.quality.validating import validate_entry
from tests.data.conftest import lines

MODULE = """
import pyarrow as pa

from dataclasses import replace
from pipeline_core.data.formats.format import DataFormat
from pipeline_core.data.row_checks import ValueFault
from pipeline_core.plugin.hooks import hookimpl


def ranked(table):
    answers = table["answers"].to_pylist()
    single = [row for row, one in enumerate(answers) if len(one) == 1]
    faults = [ValueFault(row, "answers", "missing", "holds one answer") for row in single]
    columns = {"prompt": table["question"], "chosen": [one[0].strip() for one in answers]}
    return pa.table(columns | {"rejected": [one[-1] + "." * (len(one) == 1) for one in answers]}), faults


def twice(name, chunk):
    return replace(chunk, table=pa.concat_tables([chunk.table] * 2), numbers=[*chunk.numbers] * 2)


def short(table):
    return table.slice(1), []


def no_table(table):
    return table.to_pylist(), []


def stumbles(name, chunk):
    raise KeyError("there")


@hookimpl
def register_data_formats():
    needs = ("question", "answers")
    return [
        DataFormat("ranked", needs, ranked, revision=REVISION),
        DataFormat("short", needs, short),
        DataFormat("no_table", needs, no_table),
        DataFormat("stumbles", needs, ranked, unfold=stumbles),
    ]
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """`install("name", text)` makes a package of one module; what was found of packages before is forgotten."""

    def make(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        facts = tmp_path / f"{name}-2.0.dist-info"
        facts.mkdir(exist_ok=True)
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
        (facts / "entry_points.txt").write_text(f"[evenhand.plugins]\n{name} = {name}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a changed module of equal size may be read from it
        sys.modules.pop(name, None)
        known.installed_formats.cache_clear()

    yield make
    monkeypatch.undo()
    known.installed_formats.cache_clear()


RANKED = [{"question": "q", "answers": ["good", "so so", "bad"]}, {"question": "p", "answers": ["fine", "poor"]}]


def ref(split=None):
    return DataRef(entry="mine", split=split)


def test_rows_of_a_packages_format_are_read_and_checked(mine, install):
    install("rankings", MODULE.replace("REVISION", "1"))
    catalog = mine("jsonl", {"a.jsonl": lines(*RANKED)}, shape="ranked")
    assert [(row["prompt"], row["chosen"], row["rejected"]) for row in catalog.load(ref())] == [
        ("q", "good", "bad"),
        ("p", "fine", "poor"),
    ]
    lone = RANKED[0] | {"answers": ["a"]}
    report = validate_entry(mine("jsonl", {"a.jsonl": lines(*RANKED, lone)}, shape="ranked"), "mine")
    assert report["faulty"] == 1 and report["faults"][0].endswith("a.jsonl, line 3: column 'answers' holds one answer")


@pytest.mark.parametrize(
    ("shape", "row", "told"),
    [
        ("ranked", {"question": "q"}, "a.jsonl: missing column 'answers' of shape 'ranked'; columns found: question"),
        ("ranked", {"question": "q", "answers": [1]}, "a.jsonl, line 2: no row of shape 'ranked': "),
        ("short", RANKED[0], "lines 1 to 2: no rows of shape 'short': its format gives 1 rows for 2"),
        ("no_table", RANKED[0], "lines 1 to 2: no rows of shape 'no_table': its format gives a list, not a table"),
        ("stumbles", RANKED[0], "lines 1 to 2: no rows of shape 'stumbles': 'there'"),
    ],
)
def test_rows_that_a_packages_format_cannot_read_are_named(mine, install, shape, row, told):
    install("rankings", MODULE.replace("REVISION", "1"))
    rows = [row, row] if "answers" not in row or row is RANKED[0] else [RANKED[0], row]
    with pytest.raises(BadInput) as error:
        mine("jsonl", {"a.jsonl": lines(*rows)}, shape=shape).load(ref())
    assert told in str(error.value)


def test_an_unknown_format_is_answered_with_those_of_packages_and_with_broken_ones(mine, install):
    install("rankings", MODULE.replace("REVISION", "1"))
    install("crooked", "import no_such_library\n")
    with pytest.raises(BadInput) as error:
        mine("jsonl", {"a.jsonl": lines(*RANKED)}, shape="rankd")
    told = str(error.value)
    assert told.startswith("catalog.yaml: mine.shape: is 'rankd', not 'plain', 'transcript', 'bbq'")
    assert "'stumbles'. Did you mean 'ranked'?" in told
    assert told.endswith(
        "Broken and left out: crooked (crooked 2.0): ModuleNotFoundError: No module named 'no_such_library'."
    )


def test_a_module_whose_formats_are_at_fault_is_broken(mine, install):
    install("crooked", MODULE.replace("REVISION", "0"))
    with pytest.raises(BadInput, match=r"left out: crooked .*ValueError: ranked: a revision is a whole number"):
        mine("jsonl", {"a.jsonl": lines(*RANKED)}, shape="ranked")


def test_two_packages_with_a_format_of_one_name_are_refused(mine, install):
    install("first", MODULE.replace("REVISION", "1"))
    install("second", MODULE.replace("REVISION", "1"))
    both = r"(first \(first 2\.0\)|second \(second 2\.0\))"
    with pytest.raises(BadInput, match=f"two data formats are called 'ranked': {both} and {both}; rename"):
        mine("jsonl", {"a.jsonl": lines(*RANKED)}, shape="ranked")


def test_a_changed_format_gives_new_rows_and_another_identity(mine, install):
    install("rankings", MODULE.replace("REVISION", "1"))
    catalog = mine("jsonl", {"a.jsonl": lines(*RANKED)}, shape="ranked")
    before, key = catalog.fingerprint(ref()), _cache_key(ref(), catalog.entry("mine"))
    assert catalog.load(ref())["chosen"][0] == "good"
    install("rankings", MODULE.replace("REVISION", "2").replace(".strip()", ".upper()"))
    assert catalog.fingerprint(ref()) != before
    assert _cache_key(ref(), catalog.entry("mine")) != key
    assert catalog.load(ref())["chosen"][0] == "GOOD"
    assert identity_of(ref(), catalog.entry("mine"))["format"] == {"revision": 2, "distribution": "rankings"}


def test_built_in_formats_need_no_package_and_leave_no_trace_in_identities(mine, monkeypatch):
    monkeypatch.setattr(known, "announced", lambda: pytest.fail("packages were searched"))
    known.installed_formats.cache_clear()
    pair = {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"}
    catalog = mine("jsonl", {"a.jsonl": lines(pair)}, shape="transcript")
    assert catalog.load(ref())["chosen"][:] == ["a"]
    assert "format" not in identity_of(ref(), catalog.entry("mine"))


def test_the_built_in_formats_are_the_known_names():
    entry = {"kind": "jsonl", "path": "a", "rows": "text", "licence": "x", "citation": "x"}
    for name in known.BUILT_IN:
        assert read_entries({"mine": entry | {"shape": name}}, "c")["mine"].shape == name
    assert list(known.BUILT_IN)[:4] == ["plain", "transcript", "bbq", "bbq_pairs"] and len(known.BUILT_IN) == 17
