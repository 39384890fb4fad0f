"""Domains and groups an entry declares: what is unknown is named with its row and the nearest known."""

import pytest

from pipeline_core.data.entry_base import sandbox_people
from pipeline_core.data.refs import DataRef
from pipeline_core.data.row_checks import check_people
from pipeline_core.errors import BadInput
from pipeline_core.quality.validating import validate_entry
from tests.data.test_files import ENTRY, write

DECLARED = ", people: {age: [young, old], other: []}"


def prompt(**people):
    return {"prompt": "The visitor was", "domain": "age", "group": ["old"]} | people


def entry(more=""):
    return (ENTRY % more).replace("preference", "prompt")


@pytest.mark.parametrize(
    ("people", "message"),
    [
        (
            {"group": ["martians"]},
            r"column 'group' names the group 'martians', which is unknown in 'age'\. Known: old, y",
        ),
        ({"group": ["old", "yong"]}, r"column 'group' names the group 'yong'.* Did you mean 'young'\?"),
        ({"group": []}, r"column 'group' names no group\. Known in 'age': young, old"),
        ({"group": None}, r"column 'group' names no group"),
        ({"domain": "ages"}, r"column 'domain' names the domain 'ages', which is unknown\. Did you mean 'age'\?"),
        ({"domain": None}, r"column 'domain' names the domain ''"),
    ],
)
def test_unknown_people_are_named_with_the_row(catalog, root, people, message):
    write(root / "rows.jsonl", [prompt(), prompt(domain="other", group=[]), prompt(**people)])
    found = catalog(entry(DECLARED))
    with pytest.raises(BadInput, match=rf"mine: .*rows\.jsonl, line 3: {message}"):
        found.load(DataRef(entry="mine"))
    assert not validate_entry(found, "mine")["ok"]
    with pytest.raises(BadInput, match=rf"mine: row 3 \(id 'rows/3'\): {message}"):
        check_people(catalog(entry()).load(DataRef(entry="mine")), {"age": ["young", "old"], "other": []}, "mine")


def test_known_people_and_entries_that_declare_none_pass(catalog, root):
    write(root / "rows.jsonl", [prompt(), prompt(domain="other", group=["anyone"])])
    assert catalog(entry(DECLARED)).load(DataRef(entry="mine")).num_rows == 2
    assert catalog(entry()).load(DataRef(entry="mine")).num_rows == 2


def test_the_sandboxs_people_can_be_declared_by_name(catalog, root):
    domain, groups = next(iter(sandbox_people().items()))
    write(root / "rows.jsonl", [prompt(domain=domain, group=groups[0]), prompt(domain=domain, group="martians")])
    found = catalog(entry(", people: sandbox"))
    with pytest.raises(BadInput, match=r"line 2: column 'group' names the group 'martians'"):
        found.load(DataRef(entry="mine"))
    check_people(found.load(DataRef(entry="sandbox_prompts")), sandbox_people(), "sandbox_prompts")
