"""D4, D7, D8: a value is read as it stands in its file, whatever stands in other rows, or refused by row."""

import csv
import datetime
import decimal
import io
import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_core.data.casting import conform
from pipeline_core.data.contract import SCHEMAS
from pipeline_core.data.list_texts import listed
from pipeline_core.data.plain_rows import table_of
from pipeline_core.data.refs import DataRef
from pipeline_core.data.values import name_of
from pipeline_core.errors import BadInput
from pipeline_core.quality.validating import validate_entry
from tests.data.conftest import PAIR, QUESTION, lines, parquet, rows_of

MINE = DataRef(entry="mine")
TIMES = ["2001-09-11 08:46:00", "2001-09-11T08:46:00Z"]


def as_csv(*rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def faults(catalog):
    with pytest.raises(BadInput) as error:
        rows_of(catalog)
    return str(error.value).splitlines()


def column(catalog, name):
    return [row[name] for row in rows_of(catalog)]


def test_d4_texts_in_lists_are_never_read_as_times(mine):
    row = QUESTION | {"options": TIMES, "group": ["2020-01-01"]}
    for kind, content in (
        ("jsonl", lines(row, row)),
        ("json", json.dumps([row, row])),
        ("parquet", parquet({name: [value] * 2 for name, value in row.items()})),
        ("csv", as_csv(*[row | {"options": json.dumps(TIMES), "group": "2020-01-01"}] * 2)),
    ):
        for read in rows_of(mine(kind, {f"a.{kind}": content}, rows="question")):
            assert (read["options"], read["group"]) == (TIMES, ["2020-01-01"])


@pytest.mark.parametrize(
    "values", [[4, 5.0, 3.10], [True, False], ["a", 1], ["a", None, 2], [["a"], ["b"]], {"a": "b"}]
)
def test_d4_numbers_and_booleans_in_lists_of_texts_are_refused_as_elsewhere(mine, values):
    odd = QUESTION | {"options": values}
    expected = f"column 'options' is {values!r}, not text or a list of texts"
    told = faults(mine("jsonl", {"a.jsonl": lines(QUESTION, odd, QUESTION)}, rows="question"))
    assert [fault.split(", line ")[1] for fault in told] == [f"2: {expected}"]
    told = faults(mine("jsonl", {"a.jsonl": lines(odd, odd)}, rows="question"))
    assert [fault.split(", line ")[1] for fault in told] == [f"1: {expected}", f"2: {expected}"]
    text = mine("csv", {"a.csv": as_csv(QUESTION | {"options": json.dumps(values)})}, rows="question")
    assert "row 1: column 'options' " in faults(text)[0]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[datetime.datetime(2001, 9, 11)] * 2]),
        pa.array([[datetime.date(2001, 9, 11)] * 2]),
        pa.array([[1, 2]]),
        pa.array([[1.0, 2.0]]),
        pa.array([[True, False]]),
        pa.array([[2**62, 2**62 + 1]], pa.list_(pa.timestamp("ms"))),
    ],
)
def test_d4_typed_columns_of_parquet_are_not_made_texts_numbers_or_truth_values(mine, column):
    question = {name: [value] for name, value in QUESTION.items()}
    catalog = mine("parquet", {"a.parquet": parquet(question | {"options": column})}, rows="question")
    assert "row 1: column 'options' is " in faults(catalog)[0]
    pair = {name: [value] for name, value in PAIR.items()}
    value = column.flatten()[:1]
    is_number = pa.types.is_integer(value.type) or pa.types.is_floating(value.type)
    for target in ("chosen", "group", *([] if is_number else ["label"])):
        catalog = mine("parquet", {"a.parquet": parquet(pair | {target: value})})
        assert f"row 1: column {target!r} is " in faults(catalog)[0]


def test_d4_texts_of_all_forms_of_arrow_are_read(mine):
    pair = {name: [value] for name, value in PAIR.items()}
    forms = (pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()))
    for form in forms:
        columns = {name: pa.array(values).cast(form) for name, values in pair.items()}
        group = pa.array([["x"]], pa.large_list(pa.large_string()))
        row = rows_of(mine("parquet", {"a.parquet": parquet(columns | {"group": group})}))[0]
        assert {name: row[name] for name in PAIR} == PAIR
        assert row["group"] == ["x"]


ANYTHING = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from([*TIMES, "1", "1.0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)
LIKELY = st.none() | st.integers(-2, 2) | st.floats() | st.text(max_size=3) | st.lists(st.text(max_size=2), max_size=2)
ROWS = {
    kind: st.lists(st.fixed_dictionaries(dict.fromkeys(SCHEMAS[kind].names, LIKELY | ANYTHING)), max_size=3)
    for kind in ("preference", "question", "scored")
}


def read_together(kind, rows):
    """Every row's values, and the columns at fault with the reasons; of objects Arrow shows the keys of all."""
    table, found = conform(table_of(rows), kind, "mine", lambda: None)
    told = [(fault.row, fault.column, "" if "{" in fault.reason else fault.reason) for fault in found]
    return [
        (repr(row), {fault[1:] for fault in told if fault[0] == number}) for number, row in enumerate(table.to_pylist())
    ]


def each_row_is_read_as_if_alone(kind, rows):
    assert (read_together(kind, rows) if rows else []) == [read_together(kind, [row])[0] for row in rows]


@pytest.mark.parametrize("kind", ROWS)
@settings(max_examples=15)
@given(data=st.data())
def test_d4_other_rows_never_decide_how_a_row_is_read(kind, data):
    each_row_is_read_as_if_alone(kind, data.draw(ROWS[kind]))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ROWS)
@settings(max_examples=1000)
@given(data=st.data())
def test_d4_other_rows_never_decide_how_a_row_is_read_over_many(kind, data):
    each_row_is_read_as_if_alone(kind, data.draw(ROWS[kind]))


def test_d7_ids_are_exact_decimal_text(mine):
    large = [12345678901234567890, 12345678901234567891, 2**53 + 1, -(2**53) - 1]
    written = [*large, 1, 2.5, -3, "007", "7", "12345678901234567890.0", 10**40]
    expected = [str(id_) for id_ in written]
    rows = [PAIR | {"id": id_, "template_id": id_} for id_ in written]
    for kind, content in (("jsonl", lines(*rows)), ("json", json.dumps(rows)), ("csv", as_csv(*rows))):
        catalog = mine(kind, {f"a.{kind}": content})
        assert column(catalog, "id") == column(catalog, "template_id") == expected
    pair = {name: [value] * 2 for name, value in PAIR.items()}
    for ids in (
        pa.array(large[:2], pa.uint64()),
        pa.array([decimal.Decimal(id_) for id_ in large[:2]]),
        pa.array(list(map(str, large[:2]))),
    ):
        assert column(mine("parquet", {"a.parquet": parquet(pair | {"id": ids})}), "id") == expected[:2]


def test_d7_ids_that_are_equal_numbers_are_one_id_in_decimal_digits(mine):
    texts = ["1e19", "1.0", "-0.0", "1e-7", "2.50", "1e22"]
    rows = [json.dumps(PAIR)[:-1] + f', "id": {text}}}' for text in texts]
    expected = ["10000000000000000000", "1", "0", "0.0000001", "2.5", "10000000000000000000000"]
    assert column(mine("jsonl", {"a.jsonl": lines(*rows)}), "id") == expected
    pairs = {name: [value] * 2 for name, value in PAIR.items()}
    assert column(mine("parquet", {"a.parquet": parquet(pairs | {"id": [1e5, 2.5]})}), "id") == ["100000", "2.5"]
    twice = [json.dumps(PAIR)[:-1] + f', "id": {text}}}' for text in ("1e5", "100000")]
    report = validate_entry(mine("jsonl", {"a.jsonl": lines(*twice)}), "mine")
    assert "id '100000' occurs more than once" in report["faults"][0]


@pytest.mark.parametrize(
    "value", ["1.2345678901234567e+19", "12345678901234567890.0", "0.12345678901234567", "NaN", "true", "[1]"]
)
def test_d7_an_id_that_may_have_lost_digits_or_is_no_name_is_refused(mine, value):
    row = json.dumps(PAIR)[:-1] + f', "id": {value}}}'
    told = faults(mine("jsonl", {"a.jsonl": lines(PAIR | {"id": "x"}, row)}))
    assert len(told) == 1
    assert "a.jsonl, line 2: column 'id' is " in told[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['race', 'gender']", ["race", "gender"]),
        ('["race", "g\\u00ebnder"]', ["race", "gënder"]),
        ("('race', \"it's\")", ["race", "it's"]),
        ("{'race',\n 'gender', }", ["race", "gender"]),
        ("[]", []),
        ("race, gender", None),
        ("(other)", None),
        ("[sic] old", None),
        ("", None),
    ],
)
def test_d8_the_text_of_a_list_is_that_list(text, expected):
    assert listed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("['race' 'gender']", "['race', 'gen", "[race]", "[1, 2]", "[None]", "['a', 1]", '["\\ud83d"]'),
        *("('race', 5)", "('race', 'gen", "{'race'", "('a' 'b')", "(b'race',)", "(1, 2)", "{3, 4}", "{}", "{'a': 1}"),
        *("set(['race'])", "frozenset({'race'})", "array(['race', 'gender'], dtype=object)", "Index(['race'])"),
    ],
)
def test_d8_a_text_that_looks_like_a_list_and_is_none_is_refused(mine, text):
    told = faults(mine("csv", {"a.csv": as_csv(PAIR | {"group": "old"}, PAIR | {"group": text})}))
    assert len(told) == 1
    assert "a.csv, row 2: column 'group' is " in told[0]


def test_d8_empty_lists_name_no_group_and_other_brackets_are_text(mine):
    empty = ["()", "set()", "[]", "frozenset()", "( )"]
    texts = ["(Asian)", "{name}", "(a) yes", "settlers (early)", "set (of rules)", "(1) first"]
    catalog = mine("csv", {"a.csv": as_csv(*(PAIR | {"group": text} for text in empty + texts))})
    assert column(catalog, "group") == [[]] * len(empty) + [[text] for text in texts]


@given(st.lists(st.text(), max_size=4))
def test_d8_lists_come_back_from_json_and_python_text(items):
    assert listed(json.dumps(items)) == listed(repr(items)) == items


def test_d8_groups_of_a_csv_and_words_for_truth(mine):
    groups = ["['race', 'gender']", "old", "", '["x"]']
    catalog = mine("csv", {"a.csv": as_csv(*(PAIR | {"group": group} for group in groups))})
    assert column(catalog, "group") == [["race", "gender"], ["old"], [], ["x"]]
    asked = QUESTION | {"options": "['a', 'b']"}
    words = ["True", "FALSE", "1", "0", ""]
    catalog = mine("csv", {"a.csv": as_csv(*(asked | {"names": word} for word in words))}, rows="question")
    assert column(catalog, "names") == [True, False, True, False, False]
    for value in ("maybe", "yes", 2, 0.5, [True]):
        catalog = mine(
            "jsonl", {"a.jsonl": lines(QUESTION | {"names": True}, QUESTION | {"names": value})}, rows="question"
        )
        assert faults(catalog)[0].endswith(f"line 2: column 'names' is {value!r}, not true or false")


def test_d8_numbers_in_texts_are_plain_numbers(mine):
    catalog = mine("csv", {"a.csv": as_csv(*(PAIR | {"label": word} for word in ("1", " -2.5e-1", ".5", "3.")))})
    assert column(catalog, "label") == [1.0, -0.25, 0.5, 3.0]
    for word in ("1_000", "٣", "", "one", "0x10", "1,5"):
        told = faults(mine("csv", {"a.csv": as_csv(PAIR | {"label": "1"}, PAIR | {"label": word})}))
        assert told[0].endswith(f"row 2: column 'label' is {word!r}, not a number")
    for value in (True, "high", [1], 10**400):
        told = faults(mine("jsonl", {"a.jsonl": lines(PAIR | {"label": 0.5}, PAIR | {"label": value})}))
        assert "line 2: column 'label' is " in told[0]


def test_d4_kept_columns_have_one_type_in_all_files(mine):
    pairs = {"0.jsonl": lines(PAIR), "a.jsonl": lines(PAIR | {"x": 1}), "b.jsonl": lines(PAIR | {"x": 0.5})}
    assert mine("jsonl", pairs, "*.jsonl", keep=["x"]).load(MINE)["x"][:] == [None, 1.0, 0.5]
    odd = mine("jsonl", {"b.jsonl": lines(PAIR | {"x": "s"})}, "*.jsonl", keep=["x"])
    with pytest.raises(BadInput, match=r"b\.jsonl, lines 1 to 1: column 'x' holds string and in rows before int64"):
        odd.load(MINE)
    assert not validate_entry(odd, "mine")["ok"]
    together = mine("jsonl", {"c.jsonl": lines(PAIR | {"x": 1}, PAIR | {"x": True})}, "c.jsonl", keep=["x"])
    assert "line 2: column 'x' is True, not a number as before, and a kept column has one type" in faults(together)[0]


def test_d4_splits_and_keys_are_the_same_text_whatever_their_type(mine):
    rows = [PAIR | {"part": part} for part in (1, 1.0, "1", True, "true")]
    report = validate_entry(mine("jsonl", {"a.jsonl": lines(*rows)}, split_column="part"), "mine")
    assert report["splits"] == {"1": 3, "true": 2}
    odd = mine("jsonl", {"a.jsonl": lines(*rows, PAIR | {"part": [1]})}, split_column="part")
    assert "a.jsonl, line 6: column 'part' names no split: it is neither text nor number" in faults(odd)[0]


@pytest.mark.parametrize("kind", ["question", "choice"])
def test_d15_equal_options_are_refused_and_equal_sentences_are_a_tie(mine, kind):
    row = QUESTION | {"prompt": "p", "options": ["Yes", "Yes "]}
    told = faults(mine("jsonl", {"a.jsonl": lines(row)}, rows=kind))
    assert told[0].endswith("line 1: column 'options' holds the same option twice")
    assert column(mine("jsonl", {}, "a.jsonl", rows="sentences"), "options") == [["Yes", "Yes "]]


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (decimal.Decimal("1.00"), "1"),
        (decimal.Decimal("-0.00"), "0"),
        (decimal.Decimal("0.50"), "0.5"),
        (decimal.Decimal("100"), "100"),
        (decimal.Decimal("1E+2"), "100"),
        (decimal.Decimal("0.12345678901234567890123456789012345"), "0.12345678901234567890123456789012345"),
        (1.0, "1"),
        (1, "1"),
        (12345678901234567890, "12345678901234567890"),
    ],
)
def test_equal_numbers_have_equal_names(number, name):
    assert name_of(number) == name
