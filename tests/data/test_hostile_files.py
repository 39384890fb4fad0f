"""D15, M14: files of other kinds, damaged ones and odd texts are read rightly or refused in one sentence (exit 2)."""

import bz2
import datetime
import decimal
import gzip
import io
import json
import lzma
import subprocess
import sys
import tarfile

import pyarrow as pa
import pytest
import yaml

from flows.cli import main
from pipeline_core.checks.overrides import apply_overrides
from pipeline_core.data.refs import DataRef
from pipeline_core.data.tables import rows_as_table
from pipeline_core.errors import BadInput
from pipeline_core.files.surrogates import lone_surrogate
from pipeline_core.files.yaml_files import parse_yaml
from pipeline_core.quality.validating import validate_entry
from tests.data.conftest import PAIR, lines, parquet, rows_of

ROW = json.dumps(PAIR)
LONG = "x" * 100_000


def one(**more):
    """A line of JSON with further members, whose values are JSON texts."""
    return ROW[:-1] + "".join(f', "{name}": {value}' for name, value in more.items()) + "}"


def archived(text):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        member = tarfile.TarInfo("a.jsonl")
        member.size = len(text.encode())
        archive.addfile(member, io.BytesIO(text.encode()))
    return sink.getvalue()


PACKED = gzip.compress(f"{ROW}\n{ROW}\n".encode())
TABLE = {name: [value] for name, value in PAIR.items()}

READ = {
    "a.jsonl.GZ": PACKED,
    "a.JSONL.Gz": PACKED,
    "packed.jsonl": PACKED,
    "plain.jsonl.gz": lines(PAIR, PAIR),
    "members.jsonl.gz": gzip.compress(f"{ROW}\n".encode()) + gzip.compress(ROW.encode()),
    "padded.jsonl.gz": PACKED + b"\0" * 512,
    "bom.jsonl": b"\xef\xbb\xbf" + lines(PAIR, PAIR).encode(),
    "crlf.jsonl": f"{ROW}\r\n\r\n{ROW}\r\n",
    "pair.jsonl": lines(PAIR, one(note='"\\ud83d\\ude00"')),
    "backslash.jsonl": lines(PAIR, one(note='"\\\\u0000"')),
    "long.jsonl": lines(PAIR, one(note=f'"{"x" * 5_000_000}"')),
    "padded.csv.gz": gzip.compress(b"prompt,chosen,rejected\np,c,r\np,c,r\n") + b"\0" * 512,
    "bom.csv": b"\xef\xbb\xbfprompt,chosen,rejected\r\np,c,r\r\n\r\np,c,r\r\n",
    "cr.csv": "prompt,chosen,rejected\rp,c,r\rp,c,r",
    "long.csv": f"prompt,chosen,rejected,note\np,c,r,\np,c,r,{'x' * 5_000_000}\n",
    "bom.json": b"\xef\xbb\xbf" + json.dumps([PAIR, PAIR]).encode(),
}


@pytest.mark.parametrize("name", READ)
def test_d15_files_that_are_read(mine, name):
    kind = next(kind for kind in ("jsonl", "csv", "json") if kind in name.lower())
    rows = rows_of(mine(kind, {name: READ[name]}))
    assert [{column: row[column] for column in PAIR} for row in rows] == [PAIR, PAIR]


REFUSED = {
    "a.jsonl.zst": (
        b"\x28\xb5\x2f\xfd" + b"1234",
        "a.jsonl.zst is compressed by Zstandard, which is not read; unpack it",
    ),
    "a.jsonl.bz2": (bz2.compress(ROW.encode()), "is compressed by bzip2"),
    "a.jsonl.xz": (lzma.compress(ROW.encode()), "is compressed by xz"),
    "in.jsonl.gz": (gzip.compress(bz2.compress(ROW.encode())), "is compressed by bzip2"),
    "a.jsonl.zip": (b"PK\x03\x04...", "is a zip archive or a spreadsheet"),
    "book.csv": (b"PK\x03\x04...", "is a zip archive or a spreadsheet"),
    "16.jsonl": (ROW.encode("utf-16"), "16.jsonl is UTF-16 text; save it as UTF-8"),
    "32.jsonl": (ROW.encode("utf-32"), "32.jsonl is UTF-32 text; save it as UTF-8"),
    "32be.csv": (b"\0\0\xfe\xff" + ROW.encode("utf-32-be"), "32be.csv is UTF-32 text; save it as UTF-8"),
    "a.jsonl.tar": (archived(ROW), "a.jsonl.tar is a tar archive, which is not read; unpack it"),
    "a.jsonl.tgz": (gzip.compress(archived(ROW)), "a.jsonl.tgz is a tar archive, which is not read"),
    "a.jsonl.lzma": (lzma.compress(ROW.encode(), lzma.FORMAT_ALONE), "a.jsonl.lzma is compressed by LZMA"),
    "a.jsonl.rar": (b"Rar!\x1a\x07\x01\0...", "a.jsonl.rar is a RAR archive"),
    "16be.jsonl": (ROW.encode("utf-16-be"), "16be.jsonl, line 1: holds a NUL byte"),
    "16.csv": ("prompt,chosen,rejected\np,c,r\n".encode("utf-16"), "16.csv is UTF-16 text"),
    "nul.jsonl": (ROW.encode() + b"\n\0\n", "nul.jsonl, line 2: holds a NUL byte"),
    "nul.csv": (b"prompt,chosen,rejected\np,c\0,r\n", "nul.csv, line 2: holds a NUL byte"),
    "u0000.jsonl": (
        lines(PAIR, one(x='"a\\u0000"')),
        "u0000.jsonl, line 2: holds the character U+0000, which is no text (column 56)",
    ),
    "u0000.json": (f"[{ROW},\n {one(**{'a' + chr(92) + 'u0000': 1})}]", "line 2: holds the character U+0000"),
    "u0000.parquet": (
        parquet(TABLE | {"chosen": ["c\0"]}),
        "u0000.parquet, row 1: column 'chosen' holds the character U+0000, which is no text",
    ),
    "cut.jsonl.gz": (PACKED[:-9], "cut.jsonl.gz is damaged or cut short in line "),
    "head.jsonl.gz": (PACKED[:5], "head.jsonl.gz is damaged or cut short in line 1"),
    "tail.jsonl.gz": (PACKED + b"more", "tail.jsonl.gz is damaged or cut short in line 3"),
    "empty.jsonl": ("", "empty.jsonl has no rows"),
    "empty.jsonl.gz": (gzip.compress(b""), "empty.jsonl.gz has no rows"),
    "empty.json": ("[]", "empty.json has no rows"),
    "blank.json": (" \n", "blank.json has no rows"),
    "empty.csv": ("", "empty.csv has no rows"),
    "header.csv": ("prompt,chosen,rejected\n", "header.csv has no rows"),
    "empty.parquet": (parquet({name: pa.array([], pa.string()) for name in PAIR}), "empty.parquet has no rows"),
    "nothing.parquet": (b"", "nothing.parquet is no Parquet"),
    "text.parquet": (lines(PAIR), "text.parquet is no Parquet (it begins with b'{\"pr'"),
    "cut.parquet": (parquet(TABLE)[:-5], "cut.parquet cannot be read as parquet: "),
    "a.parquet.gz": (gzip.compress(parquet(TABLE)), "is compressed by gzip; Parquet has its own compression"),
    "table.jsonl": (parquet(TABLE), "table.jsonl is Parquet, and is to be read as jsonl"),
    "table.csv": (parquet(TABLE), "table.csv is Parquet, and is to be read as csv"),
    "twice.jsonl": (lines(PAIR, one(prompt='"z"')), "line 2: the key 'prompt' stands twice in one object (column 1)"),
    "inner.jsonl": (lines(PAIR, one(x='{"a": {"b": 1, "b": 1}}')), "line 2: the key 'b' stands twice"),
    "twice.json": (
        f"[{ROW},\n  {one(chosen='1')}]",
        "twice.json, line 2: the key 'chosen' stands twice in one object (column 3)",
    ),
    "key.jsonl": (ROW[:-1] + f', "{LONG}": 1, "{LONG}": 2}}', "(100,002 characters) stands twice"),
    "twice.csv": ("prompt,chosen,rejected,prompt\np,c,r,p\n", "twice.csv: several columns are called 'prompt'"),
    "few.csv": (
        "prompt,chosen,rejected\np,c,r\np,c\n",
        "few.csv, row 2 (line 3): holds 2 values, and the header names 3",
    ),
    "many.csv": ("prompt,chosen,rejected\np,c,r,s\n", "many.csv, row 1 (line 2): holds 4 values"),
    "open.csv": (
        'prompt,chosen,rejected\np,c,r\np,"c,r\np,c,r\n',
        "open.csv, row 2 (line 4): malformed CSV: unexpected end",
    ),
    "quote.csv": ('prompt,chosen,rejected\np,"c"d,r\n', "quote.csv, row 1 (line 2): malformed CSV"),
    "half.jsonl": (
        f"{ROW}\n{ROW[:20]}",
        "half.jsonl, line 2: malformed JSON: it ends within a text",
    ),
    "half.json": (
        f"[{ROW},\n{ROW[:20]}",
        "half.json, line 2: malformed JSON: it ends within a text",
    ),
    "deep.jsonl": (lines(PAIR, one(x="[" * 500 + "]" * 500)), "line 2: column 'x' is nested deeper than 64 levels"),
    "deeper.jsonl": (lines(PAIR, "[" * 100_000), "deeper.jsonl, line 2: nested too deep"),
    "deeper.json": ("[" * 100_000, "deeper.json: nested too deep"),
    "nan.jsonl": (one(label="NaN"), "line 1: column 'label' is not a finite number"),
    "inf.jsonl": (one(label="-Infinity"), "line 1: column 'label' is not a finite number"),
    "1e400.jsonl": (one(label="1e400"), "line 1: column 'label' is not a finite number"),
    "big.jsonl": (one(label="1" + "0" * 400), "line 1: column 'label' is 1000"),
    "bigger.jsonl": (one(label="1" + "0" * 5000), "line 1: holds a number of over 4,300 digits"),
    "value.jsonl": (one(label=f'"{LONG}"'), "(100,002 characters), not a number"),
    "id.jsonl": (lines(one(id=f'"{LONG}"'), one(id=f'"{LONG}"')), "(100,002 characters) occurs more than once"),
    "latin.jsonl": (one(x='"é"').encode("latin-1"), "latin.jsonl, line 1: not UTF-8 text (byte 0xe9 at 54)"),
    "latin.csv": (b"prompt,chosen,rejected\np,c,r\np,\xe9,r\n", "latin.csv, line 3: not UTF-8 text (byte 0xe9 at 2)"),
    "list.jsonl": (lines(PAIR, "[]"), "list.jsonl, line 2: a JSON object is needed, not list"),
    "columns.jsonl": (
        json.dumps(dict.fromkeys(map(str, range(5_000)), 1)),
        "missing column 'prompt', 'chosen', 'rejected'",
    ),
    "m14.jsonl": (
        lines(PAIR, one(chosen_='"\\ud83d"')),
        "m14.jsonl, line 2: column 'chosen_' holds half of a character",
    ),
    "m14b.jsonl": (
        lines(one(note='["a", {"b": "\\ude00\\ud83d"}]')),
        "line 1: column 'note' holds half of a character (the lone",
    ),
    "m14c.jsonl": (lines(PAIR, one(**{"\\ud83d": 1})), "line 2: column '\\ud83d' holds half of a character"),
    "m14.json": ("[" + ROW + ", " + one(x='"\\ud83d"') + "]", "m14.json, row 2: column 'x' holds half of a character"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_d15_m14_files_that_are_refused(mine, name):
    content, message = REFUSED[name]
    kind = next(kind for kind in ("jsonl", "csv", "json", "parquet") if kind in name)
    report = validate_entry(mine(kind, {name: content}), "mine")
    assert len(report["faults"]) == 1
    assert message in report["faults"][0]
    assert (
        report["faults"][0].startswith("mine: ") and len(report["faults"][0]) < 3000 and "\n" not in report["faults"][0]
    )


def test_d15_one_of_many_shards_may_be_empty_and_a_named_file_may_not(mine):
    shards = {"0.jsonl": "", "1.jsonl": lines(PAIR), "2.jsonl": "\n"}
    assert [row["id"] for row in rows_of(mine("jsonl", shards, "*.jsonl"))] == ["1/1"]
    with pytest.raises(BadInput, match=r"mine: \S+2\.jsonl has no rows$"):
        rows_of(mine("jsonl", {}, ["1.jsonl", "2.jsonl"]))
    with pytest.raises(BadInput, match=r"mine: \S+0\.jsonl has no rows, nor has any other file of `path`"):
        rows_of(mine("jsonl", {"1.jsonl": ""}, "*.jsonl"))


@pytest.mark.parametrize("name", ["a.jsonl.zst", "m14.jsonl", "id.jsonl", "cut.jsonl.gz", "empty.jsonl"])
def test_d15_m14_exit_code_is_2_in_every_command(mine, capsys, name):
    mine("jsonl", {name: REFUSED[name][0]})
    for command in (["data", "validate", "mine"], ["data", "show", "mine"], ["data", "quality", "mine"]):
        assert code_of(command) == 2
        told = capsys.readouterr().err
        assert "Traceback" not in told and len(told) < 3000
        assert REFUSED[name][1] in told


def code_of(command):
    with pytest.raises(SystemExit) as ended:
        main(command)
    return ended.value.code or 0


@pytest.mark.slow
def test_m14_a_run_over_such_a_file_ends_with_the_sentence(mine):
    mine("jsonl", {"m14.jsonl": REFUSED["m14.jsonl"][0]})
    command = [sys.executable, "-m", "flows.cli", "run", "smoke", "data=mine"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 2
    assert REFUSED["m14.jsonl"][1] in done.stdout + done.stderr


def test_m14_texts_that_plugins_make_are_refused_by_row():
    rows = [PAIR, PAIR | {"group": ["a", "b\ud83d"]}]
    with pytest.raises(
        BadInput, match=r"made: row 2: column 'group' holds half of a character \(the lone surrogate \\ud83d"
    ):
        rows_as_table(rows, "preference", "made")


def test_a_date_beside_texts_is_refused_by_row():
    rows = [PAIR, PAIR | {"seen": "today"}, PAIR | {"seen": datetime.date(2026, 1, 2)}]
    told = r"made: row 3: column 'seen' holds datetime.date\(2026, 1, 2\), which JSON does not know"
    with pytest.raises(BadInput, match=told):
        rows_as_table(rows, "preference", "made")


def test_m14_configurations_and_overrides():
    assert parse_yaml(b'a: "\\U0001f600"', "x.yaml") == {"a": "\U0001f600"}
    for text in ('a: 1\nb: [x, "\\ud83d"]\n', 'a: 1\n"\\ude00": 2\n'):
        with pytest.raises(BadInput, match=r"x\.yaml, line 2: holds half of a character \(the lone surrogate \\ud"):
            parse_yaml(text.encode(), "x.yaml")
    for override in ('data.entry="\\ud83d"', "data.entry=caf\udce9", "da\udce9ta=1"):
        with pytest.raises(BadInput, match=r"override .*: holds half of a character"):
            apply_overrides({}, [override])


@pytest.mark.parametrize(
    "document", [0, None, "a", ["a", {"b": ("c", b"\xff", yaml.safe_load("2026-01-01"))}], "\U0001f600"]
)
def test_m14_whole_characters_pass(document):
    assert lone_surrogate(document) is None
    assert lone_surrogate([document, {"x": {"\udc80": 1}}]) == "\\udc80"


def test_m14_a_catalog_with_half_of_a_character_is_told_by_line(mine, tmp_path):
    from pipeline_core.data import catalog as module

    mine("jsonl", {"a.jsonl": lines(PAIR)})
    (tmp_path / "catalog.yaml").write_text('# mine\nmine: {title: "\\ud83d"}\n')
    module._read_catalog.cache_clear()
    with pytest.raises(BadInput, match=r"catalog\.yaml, line 2: holds half of a character"):
        module.Catalog.from_environment()


def test_d15_kept_values_of_every_type_are_shown(mine, capsys):
    columns = {name: pa.array([value]) for name, value in PAIR.items()} | {
        "at": pa.array([datetime.time(1)]),
        "took": pa.array([1], pa.duration("s")),
        "raw": pa.array([b"x"]),
        "exact": pa.array([decimal.Decimal("1.50")]),
    }
    mine("parquet", {"a.parquet": parquet(columns)}, keep=["at", "took", "raw", "exact"])
    assert code_of(["data", "show", "mine", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["first_rows"][0]
    assert [shown[name] for name in ("at", "took", "raw", "exact")] == ["01:00:00", "0:00:01", "b'x'", "1.50"]


def test_d15_kept_values_that_nothing_can_hold_are_refused_while_reading(mine):
    pairs = {name: pa.array([value] * 2) for name, value in PAIR.items()}
    maps = pa.array([[("a", 1)]] * 2, pa.map_(pa.string(), pa.int64()))
    for column in (maps, pa.StructArray.from_arrays([maps], ["m"])):
        catalog = mine("parquet", {"a.parquet": parquet(pairs | {"x": column})}, keep=["x"])
        assert "column 'x' holds " in validate_entry(catalog, "mine")["faults"][0]
        with pytest.raises(BadInput, match=r"map<string, int64.*, which cannot be kept; leave it out of `keep` \(in "):
            catalog.load(DataRef(entry="mine"))
    far = pa.array([0, 10**9 * 1000], pa.timestamp("ms"))
    for column in (pa.array([0, 10**15], pa.timestamp("ms")), pa.array([[0], [10**15]], pa.list_(pa.timestamp("ms")))):
        catalog = mine("parquet", {"a.parquet": parquet(pairs | {"x": column})}, keep=["x"])
        with pytest.raises(BadInput, match=r"row 2: column 'x' holds a value of the type .* that no calendar has"):
            catalog.load(DataRef(entry="mine"))
    assert validate_entry(mine("parquet", {"a.parquet": parquet(pairs | {"x": far})}, keep=["x"]), "mine")["ok"]


def test_d15_times_in_kept_columns_are_shown(mine, capsys):
    columns = {name: pa.array([value, value]) for name, value in PAIR.items()} | {
        "at": pa.array([0, 1], pa.timestamp("s"))
    }
    mine("parquet", {"a.parquet": parquet(columns)}, keep=["at"])
    assert code_of(["data", "show", "mine"]) == 0
    assert '"at": "1970-01-01 00:00:01"' in capsys.readouterr().out
