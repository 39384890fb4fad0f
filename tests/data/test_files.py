"""Local files through a user's catalog: formats, mappings, splits, and what is said about bad ones."""

import gzip
import json
import os
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_core.data import files
from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.errors import BadInput, UnknownName
from pipeline_core.quality.validating import validate_entry

ENTRY = "mine: {kind: jsonl, path: rows.jsonl, rows: preference, licence: none, citation: none%s}\n"


def pair(number=0, **more):
    return {"prompt": f"p{number}", "chosen": "c", "rejected": "r"} | more


def write(path, rows, raw=()):
    lines = [json.dumps(row) for row in rows] + list(raw)
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt") as file:
        file.write("\n".join(lines) + "\n")


def test_jsonl_gzip_csv_and_parquet_give_the_same_rows(catalog, root):
    rows = [pair(n, id=f"i{n}", group="g", label=0.5) for n in range(5)]
    write(root / "rows.jsonl", rows)
    write(root / "rows.jsonl.gz", rows)
    pq.write_table(pa.Table.from_pylist(rows), root / "rows.parquet")
    header = ",".join(rows[0])
    (root / "rows.csv").write_text("\n".join([header, *(",".join(map(str, row.values())) for row in rows)]) + "\n")
    loaded = []
    for kind, name in [
        ("jsonl", "rows.jsonl"),
        ("jsonl", "rows.jsonl.gz"),
        ("parquet", "rows.parquet"),
        ("csv", "rows.csv"),
    ]:
        text = f"mine: {{kind: {kind}, path: {name}, rows: preference, licence: none, citation: none}}"
        loaded.append(catalog(text).load(DataRef(entry="mine")).to_list())
    assert loaded[0][3]["id"] == "i3"
    assert loaded[0][3]["group"] == ["g"]
    assert all(other == loaded[0] for other in loaded)


def test_columns_are_mapped_first_found_first(catalog, root):
    write(root / "rows.jsonl", [{"q": "p", "good": "c", "worse": "r", "category": "age"}])
    more = ", columns: {prompt: q, chosen: [chosen, good], rejected: worse, domain: category}, constants: {source: s}"
    row = catalog(ENTRY % more).load(DataRef(entry="mine"))[0]
    assert (row["prompt"], row["chosen"], row["rejected"], row["domain"], row["source"]) == ("p", "c", "r", "age", "s")
    assert row["id"] == "rows/1"


def test_splits_by_column_and_by_file(catalog, root):
    write(root / "rows.jsonl", [pair(n, part="a" if n % 3 else "b") for n in range(9)])
    mine = catalog(ENTRY % ", split_column: part, default_split: b")
    assert mine.load(DataRef(entry="mine"))["prompt"][:] == ["p0", "p3", "p6"]
    assert mine.load(DataRef(entry="mine", split="a")).num_rows == 6
    with pytest.raises(UnknownName, match=r"mine: unknown split 'c'"):
        mine.load(DataRef(entry="mine", split="c"))
    write(root / "other.jsonl", [pair(7)])
    by_file = ENTRY.replace("path: rows.jsonl", "path: {train: rows.jsonl, test: other.jsonl}") % ""
    assert catalog(by_file).load(DataRef(entry="mine", split="test"))["prompt"][:] == ["p7"]
    assert catalog(by_file).load(DataRef(entry="mine")).num_rows == 10


def test_text_that_looks_like_a_date_stays_text_and_mixed_groups_are_read(catalog, root):
    write(root / "rows.jsonl", [pair(prompt="2020-01-01", group="g"), pair(1, group=["g", "h"])])
    rows = catalog(ENTRY % "").load(DataRef(entry="mine")).to_list()
    assert rows[0]["prompt"] == "2020-01-01"
    assert [row["group"] for row in rows] == [["g"], ["g", "h"]]


@pytest.mark.parametrize(
    ("rows", "raw", "message"),
    [
        ([pair(), pair(1)], ['{"prompt": '], r"rows\.jsonl, line 3: malformed JSON"),
        ([pair()], ["[1, 2]"], r"rows\.jsonl, line 2: a JSON object is needed, not list"),
        ([pair()], ["", json.dumps(pair(chosen=""))], r"rows\.jsonl, line 3: column 'chosen' is empty"),
        ([pair(), pair(rejected="c")], [], r"line 2: column 'rejected' is the same as chosen"),
        ([pair(), pair(label="x")], [], r"line 2: column 'label' is 'x', not a number"),
        ([{"prompt": "p", "chosen": "c"}], [], r"missing column 'rejected' .* columns found: prompt, chosen"),
        ([pair(id="same"), pair(1, id="same")], [], r"mine: id 'same' occurs more than once"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(catalog, root, home, rows, raw, message):
    write(root / "rows.jsonl", rows, raw)
    with pytest.raises(BadInput, match=message) as error:
        catalog(ENTRY % "").load(DataRef(entry="mine"))
    assert str(error.value).startswith("mine: ")
    assert not list(home.rglob("*.arrow"))
    assert not list(home.rglob("*.partial"))


def test_validate_reports_faults_and_rows_left_out(catalog, root):
    write(root / "rows.jsonl", [pair(), pair(chosen=""), pair(rejected="c")])
    report = validate_entry(catalog(ENTRY % ", skip: [equal_pair]"), "mine")
    assert report["skipped"] == {"equal_pair": 1}
    assert report["faults"] == [f"mine: {root / 'rows.jsonl'}, line 2: column 'chosen' is empty"]
    assert not report["ok"]
    assert validate_entry(catalog(ENTRY % ", skip: [equal_pair, empty]"), "mine")["rows"] == 1


def test_a_file_cut_short_is_said_to_be(catalog, root):
    write(root / "rows.jsonl.gz", [pair(n) for n in range(2000)])
    whole = (root / "rows.jsonl.gz").read_bytes()
    (root / "rows.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match=r"mine: .*rows\.jsonl\.gz is damaged or cut short"):
        catalog(ENTRY.replace("rows.jsonl", "rows.jsonl.gz") % "").load(DataRef(entry="mine"))


@pytest.mark.parametrize("bytes_lost", [1, 4, 200])
def test_a_csv_cut_short_is_said_to_be(root, bytes_lost):
    rows = "".join(f"{row},{row * row}\n" for row in range(500))
    (root / "rows.csv.gz").write_bytes(gzip.compress(f"a,b\n{rows}".encode())[:-bytes_lost])
    with pytest.raises(BadInput, match=r"mine: .*rows\.csv\.gz is damaged or cut short in line \d{3}: "):
        list(files.read_chunks(root / "rows.csv.gz", "csv", "mine"))


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz"])
def test_a_csv_is_read_by_the_thread_that_asks(root, name):
    # one that reads ahead, and is within a Python file when Python ends, aborts the process (exit code 134)
    text = b"a,b\n0,0\n1\n" + b"2,2\n" * 10
    (root / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    before = threading.active_count()
    with pytest.raises(
        BadInput, match=r"rows\.csv.*, row 2 \(line 3\): holds 1 values, and the header names 2 columns"
    ):
        list(files.read_chunks(root / name, "csv", "mine"))
    assert threading.active_count() == before


def test_a_missing_file_or_folder_names_the_variable(catalog, root, monkeypatch):
    mine = catalog(ENTRY % "")
    with pytest.raises(BadInput, match=rf"mine: no file 'rows.jsonl' in EVENHAND_DATA={root}"):
        mine.load(DataRef(entry="mine"))
    assert mine.describe("mine")["available"] is False
    monkeypatch.delenv("EVENHAND_DATA")
    with pytest.raises(BadInput, match=r"set EVENHAND_DATA to it \(wanted there: rows.jsonl\)"):
        mine.fingerprint(DataRef(entry="mine"))


LISTED = ENTRY.replace("path: rows.jsonl", "path: 'rows/*.jsonl', files: [rows/a.jsonl, rows/b.jsonl]") % ""


def test_a_missing_file_of_several_is_named_also_when_all_were_there_before(catalog, root):
    (root / "rows").mkdir()
    for number, name in enumerate("abc"):
        write(root / f"rows/{name}.jsonl", [pair(number, id=name)])
    mine = catalog(LISTED)
    assert mine.load(DataRef(entry="mine"))["id"][:] == ["a", "b", "c"]  # what fits the pattern is read, listed or not
    (root / "rows/b.jsonl").unlink()
    for meet in (mine.load, mine.fingerprint, lambda ref: validate_entry(mine, ref.entry)):
        with pytest.raises(BadInput, match=rf"mine: no file 'rows/b.jsonl' in EVENHAND_DATA={root}"):
            meet(DataRef(entry="mine"))
    assert "rows/b.jsonl" in mine.describe("mine")["note"]


def test_listing_the_files_and_the_splits_changes_no_fingerprint(catalog, root):
    (root / "rows").mkdir()
    for name in "ab":
        write(root / f"rows/{name}.jsonl", [pair(id=name, part=name)])
    listed = LISTED.replace("files:", "split_column: part, splits: [a, b], files:")
    plain = listed.replace(", files: [rows/a.jsonl, rows/b.jsonl]", "").replace(", splits: [a, b]", "")
    assert catalog(listed).fingerprint(DataRef(entry="mine")) == catalog(plain).fingerprint(DataRef(entry="mine"))


def test_the_fingerprint_follows_content_split_and_sample_but_not_documentation(catalog, root):
    write(root / "rows.jsonl", [pair(n) for n in range(4)])
    ref = DataRef(entry="mine")
    first = catalog(ENTRY % "").fingerprint(ref)
    assert catalog(ENTRY % ", title: other").fingerprint(ref) == first
    assert catalog(ENTRY % "").fingerprint(ref.model_copy(update={"seed": 3})) == first
    assert catalog(ENTRY % "").fingerprint(ref.model_copy(update={"rows": 2})) != first
    assert catalog(ENTRY % ", skip: [empty]").fingerprint(ref) != first
    write(root / "rows.jsonl", [pair(n) for n in range(3, 7)])
    os.utime(root / "rows.jsonl", ns=(1, 1))
    assert catalog(ENTRY % "").fingerprint(ref) != first


def test_many_rows_are_memory_mapped_from_one_cache_file(catalog, root, home):
    write(root / "rows.jsonl", [pair(n) for n in range(20_000)])
    dataset = catalog(ENTRY % "").load(DataRef(entry="mine"))
    assert dataset[19_999]["prompt"] == "p19999"
    assert [file["filename"] for file in dataset.cache_files] == [str(path) for path in home.rglob("*.arrow")]


def test_a_joined_file_must_know_every_key_once(catalog, root):
    write(root / "rows.jsonl", [pair(0, key=0), pair(1, key=1)])
    joined = ENTRY % ", join: {path: side.csv, 'on': [key]}, keep: [extra]"
    (root / "side.csv").write_text("key,extra\n1,one\n0,zero\n")
    assert catalog(joined).load(DataRef(entry="mine"))["extra"][:] == ["zero", "one"]
    (root / "side.csv").write_text("key,extra\n1,one\n")
    with pytest.raises(BadInput, match=r"line 1: its key \('key',\) is not in side.csv"):
        catalog(joined).load(DataRef(entry="mine"))
    (root / "side.csv").write_text("key,extra\n1,one\n0,zero\n0,zero\n")
    with pytest.raises(BadInput, match="occur more than once; a join would double rows"):
        catalog(joined).load(DataRef(entry="mine"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine: {kind: jsn}", r"catalog.yaml: mine: .*'jsn'"),
        ("mine: {kind: jsonl, path: x, rows: preference, licence: a}", r"mine\.citation: is missing"),
        ("mine: {kind: hub, revision: main}", r"mine\.revision: .*'main' is no commit"),
        (ENTRY % ", columns: {promt: q}", r"mine: columns: unknown column 'promt'\. Did you mean 'prompt'"),
        (ENTRY % ", constants: {sauce: a}", r"mine: constants: unknown column 'sauce'\. Did you mean 'source'"),
        (ENTRY % ", skip: [emtpy]", r"mine: skip: unknown fault 'emtpy'\. Did you mean 'empty'"),
        (ENTRY % ", files: [row.jsonl]", r"mine: files: 'row.jsonl' fits no pattern of `path`"),
        (ENTRY % ", splits: [a]", "mine: splits: these are the values of a `split_column`, and none is given"),
        (ENTRY % ", colums: {a: b}", r"mine\.colums: unknown key 'colums'\. Did you mean 'columns'"),
        ("- a", "a mapping from entry names"),
        ("a: [", "catalog.yaml"),
    ],
)
def test_a_malformed_catalog_names_the_place(catalog, text, message):
    with pytest.raises(BadInput, match=message):
        catalog(text)


def test_a_user_entry_goes_over_a_built_in_one_and_a_missing_catalog_is_refused(catalog, root, monkeypatch):
    write(root / "rows.jsonl", [pair()])
    mine = catalog((ENTRY % "").replace("mine", "bbq"))
    assert mine.entry("bbq").rows == "preference"
    assert mine.origin("bbq").endswith("catalog.yaml")
    assert "sandbox_pairs" in mine.entries
    monkeypatch.setenv("EVENHAND_CATALOG", "/no/such.yaml")
    with pytest.raises(BadInput, match=r"EVENHAND_CATALOG lists '/no/such.yaml', which is no file"):
        Catalog.from_environment()


def test_a_value_of_another_type_among_good_ones_is_named(catalog, root):
    write(root / "rows.jsonl", [pair(label=0.5), pair(1, label="high"), pair(2, prompt=7, label=1)])
    with pytest.raises(BadInput) as error:
        catalog(ENTRY % "").load(DataRef(entry="mine"))
    assert str(error.value).splitlines() == [
        f"mine: {root / 'rows.jsonl'}, line 3: column 'prompt' is 7, not text",
        f"mine: {root / 'rows.jsonl'}, line 2: column 'label' is 'high', not a number",
    ]


def test_bytes_that_are_no_text_are_named_by_line(catalog, root):
    good = json.dumps(pair()).encode()
    (root / "rows.jsonl").write_bytes(good + b"\n" + good.replace(b'"c"', b'"\xff"') + b"\n")
    with pytest.raises(BadInput, match=r"mine: .*rows\.jsonl, line 2: not UTF-8 text \(byte 0xff"):
        catalog(ENTRY % "").load(DataRef(entry="mine"))
    (root / "rows.jsonl").write_bytes(b"prompt,chosen,rejected\xff\na,b,c\n")
    with pytest.raises(BadInput, match=r"mine: .*rows\.jsonl, line 1: not UTF-8 text \(byte 0xff at 22"):
        catalog((ENTRY % "").replace("kind: jsonl", "kind: csv")).load(DataRef(entry="mine"))


def test_a_catalog_that_is_no_text_is_named_by_line(catalog, root, tmp_path):
    catalog("")
    (tmp_path / "catalog.yaml").write_bytes(b"# one\nmine: caf\xe9\n")
    from pipeline_core.data import catalog as module

    module._read_catalog.cache_clear()
    with pytest.raises(BadInput, match=r"catalog\.yaml, line 2: not UTF-8 text \(byte 0xe9\)"):
        Catalog.from_environment()


@pytest.mark.parametrize(
    ("shape", "row", "message"),
    [
        ("transcript", {"chosen": "a"}, "missing column 'rejected' of shape 'transcript'; columns found: chosen"),
        ("bbq", {"category": "Age", "label": 0}, "missing column 'example_id', .*'answer_info'"),
        ("transcript", {"chosen": 1, "rejected": 2}, "lines 1 to 1: no rows of shape 'transcript'"),
    ],
)
def test_rows_that_lack_what_their_shape_needs_are_refused(catalog, root, shape, row, message):
    write(root / "rows.jsonl", [row])
    rows = "preference" if shape == "transcript" else "question"
    text = (ENTRY % f", shape: {shape}").replace("rows: preference", f"rows: {rows}")
    with pytest.raises(BadInput, match=f"mine: {root}.*{message}"):
        catalog(text).load(DataRef(entry="mine"))


def test_rows_of_shape_bbq_whose_columns_hold_something_else_are_refused(catalog, root):
    from pipeline_core.data.formats.bbq import NEEDS

    write(root / "rows.jsonl", [dict.fromkeys(NEEDS, "x")])
    text = (ENTRY % ", shape: bbq").replace("rows: preference", "rows: question")
    with pytest.raises(BadInput, match="lines 1 to 1: no rows of shape 'bbq'"):
        catalog(text).load(DataRef(entry="mine"))


def test_data_that_are_not_at_hand_are_not_called_faulty(catalog, root):
    with pytest.raises(BadInput, match="mine: no file 'rows.jsonl' in EVENHAND_DATA"):
        validate_entry(catalog(ENTRY % ""), "mine")


def test_rows_left_out_are_left_out_of_their_split(catalog, root):
    write(root / "rows.jsonl", [pair(n, part="a" if n else "b") for n in range(3)] + [pair(3, part="a", rejected="c")])
    report = validate_entry(catalog(ENTRY % ", split_column: part, skip: [equal_pair]"), "mine")
    assert (report["rows"], report["splits"], report["skipped"]) == (3, {"a": 2, "b": 1}, {"equal_pair": 1})
