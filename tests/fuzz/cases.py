"""Cases: files, and the command that has to take them or to refuse them in one sentence."""

from __future__ import annotations

import csv
import functools
import gzip
import io
import json
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import yaml

from tests.fuzz.values import LONG, NUMBERS, TEXTS, key, mangled, mutated, places, scalar, value

ABOUT = {"licence": "none", "citation": "none"}
CATALOG = "catalog.yaml"


@dataclass(frozen=True)
class Case:
    """A command in a folder with these files; a file `catalog.yaml` is the catalog. `document` is loaded instead."""

    kind: str
    arguments: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    document: Any = None


@functools.cache
def presets() -> tuple[str, ...]:
    """Names of the shipped configurations."""
    from pipeline_core.checks.presets import preset_names

    return tuple(preset_names())


@functools.cache
def preset(name: str) -> Any:
    """A shipped configuration's document."""
    return yaml.safe_load((resources.files("data_catalog") / "presets" / f"{name}.yaml").read_bytes())


class _Wide(yaml.SafeDumper):
    """Writes no aliases of its own."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def as_yaml(rng: random.Random, document: Any) -> bytes:
    """A document as YAML or as JSON, which is YAML too."""
    if rng.random() < 0.15:
        return json.dumps(document, ensure_ascii=rng.random() < 0.5).encode(errors="surrogatepass")
    flow = rng.choice((None, True, False))
    text = yaml.dump(document, Dumper=_Wide, allow_unicode=rng.random() < 0.7, default_flow_style=flow, sort_keys=False)
    return text.encode(errors="surrogatepass")


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
TAGS = (
    "!!int",
    "!!float",
    "!!bool",
    "!!null",
    "!!str",
    "!!binary",
    "!!timestamp",
    "!!set",
    "!!omap",
    "!!map",
    "!!seq",
    "!mine",
)
SNIPPETS = (
    *(
        "? [a, b]\n: c\n",
        "<<: 3\n",
        "<<: {seeds: [1]}\n",
        "%YAML 9.9\n---\n",
        "---\na: 1\n...\n",
        "- 1\n",
        "\tname: x\n",
        BOMB,
    ),
    *(
        "x: &x [*x]\n",
        "x: &x {y: *x}\n",
        "[" * 2000,
        "{a: " * 2000,
        "seeds: [010]\n",
        "seeds: [08]\n",
        "seed: 1:30\n",
        "name: no\n",
    ),
    *(
        "seed: !!int x\n",
        "a: 2026-99-99\n",
        "a: *none\n",
        "name: !!python/object:os.system x\n",
        "name: |\n" + LONG + "\n",
    ),
)


def yaml_bytes(rng: random.Random, document: Any, spoil: Sequence[int] = (0, 0, 0, 1, 1, 2)) -> bytes:
    """A document as YAML that people or programs may have spoiled, so many times."""
    content = as_yaml(rng, document)
    for _ in range(rng.choice(spoil)):
        content = rng.choice((_tagged, _repeated, _with_snippet, _mangled_a_little))(rng, content)
    return content


def _tagged(rng: random.Random, content: bytes) -> bytes:
    """A tag or an anchor before some value."""
    at = rng.choice([place for place in range(len(content)) if content[place : place + 2] == b": "] or [0])
    mark = rng.choice((*TAGS, "!!python/object:os.x", "&a", "*a", "!<tag:x>", "!!" + "x" * 5000))
    return content[: at + 2] + mark.encode() + b" " + content[at + 2 :]


def _repeated(rng: random.Random, content: bytes) -> bytes:
    """A line that stands there twice."""
    lines = content.splitlines(keepends=True)
    place = rng.randrange(len(lines)) if lines else 0
    return b"".join([*lines[: place + 1], *lines[place : place + 1], *lines[place + 1 :]])


def _with_snippet(rng: random.Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    place = rng.choice((0, len(lines)))
    return b"".join([*lines[:place], rng.choice(SNIPPETS).encode(), *lines[place:]])


def _mangled_a_little(rng: random.Random, content: bytes) -> bytes:
    return mangled(rng, content, rng.randint(1, 3))


def configuration(rng: random.Random) -> Case:
    """A shipped configuration, changed."""
    document = mutated(rng, preset(rng.choice(presets())), rng.choice((0, 1, 1, 1, 2, 4)))
    document = value(rng) if rng.random() < 0.03 else document
    return Case("configuration", ("check", "./my.yaml"), {"my.yaml": yaml_bytes(rng, document)})


def mapping(rng: random.Random) -> Case:
    """The same as a document that a server hands over."""
    return Case("mapping", document=mutated(rng, preset(rng.choice(presets())), rng.choice((1, 1, 1, 1, 2, 5))))


@functools.cache
def settings() -> tuple[str, ...]:
    """Names of all settings of all plugins."""
    from pipeline_core.pipeline.config import PipelineConfig
    from pipeline_core.plugin.registry import load_registry
    from pipeline_core.plugin.specs import STAGES
    from pipeline_core.stage.settings import ExecutionSettings

    configs = [spec.config for stage in STAGES for spec in load_registry().specs(stage)]
    return tuple(
        sorted({name for config in (PipelineConfig, ExecutionSettings, *configs) for name in config.model_fields})
    )


def override(rng: random.Random) -> str:
    """`dotted.key=value`, or nearly so."""
    segments = []
    for depth in range(rng.choice((1, 1, 2, 3, 3, 4))):
        kind = rng.random()
        stages = ("base", "data", "extend", "reward", "policy", "evaluate", "gate", "runner", "seeds", "register_as")
        if depth == 0 and kind < 0.85:
            segments.append(rng.choice(stages))
        elif kind < 0.35:
            segments.append(
                rng.choice(("0", "1", "-1", "²", "٣", "9" * 30, "9" * 5000, "00", "1.5", "dpo", "sandbox_bias"))
            )
        elif kind < 0.85:
            segments.append(rng.choice(settings()))
        else:
            segments.append(str(scalar(rng)).replace("\0", ""))
    written = rng.choice((str(scalar(rng)), json.dumps(value(rng)), rng.choice(TEXTS), rng.choice(SNIPPETS)))
    text = f"{'.'.join(segments)}{rng.choice(('=', '=', '=', '=', '', ':', '==', ' = '))}{written}".replace("\0", "")
    return text if not text.startswith("-") else f"x{text}"


def sensible(rng: random.Random, name: str) -> str:
    """An override of something that is set there, to an odd value, often of the type it has."""
    from pipeline_core.pipeline.config import full_form

    document = full_form(preset(name))
    steps = rng.choice(places(document))
    now: Any = document
    for step in steps:
        now = now[step]
    path = [str(step) for step in steps]
    if rng.random() < 0.3:
        path[-1] = rng.choice(settings())
    if isinstance(now, int | float) and rng.random() < 0.7:
        written = str(rng.choice(NUMBERS))
    else:
        written = str(scalar(rng)) if rng.random() < 0.7 else json.dumps(value(rng))
    return f"{'.'.join(path)}={written}".replace("\0", "")


def overrides(rng: random.Random) -> Case:
    """A shipped configuration with some."""
    name = rng.choice(presets())
    made = (sensible(rng, name) if rng.random() < 0.6 else override(rng) for _ in range(rng.choice((1, 1, 1, 2, 4))))
    return Case("overrides", ("check", name, *made))


@functools.cache
def rows_of() -> Mapping[str, list[dict[str, Any]]]:
    """A few rows of every kind the sandbox has, by kind."""
    from pipeline_core.data.catalog import Catalog
    from pipeline_core.data.refs import DataRef

    catalog = Catalog.from_environment()
    sandbox = {name: entry for name, entry in catalog.entries.items() if entry.kind == "sandbox"}
    return {entry.rows: catalog.load(DataRef(entry=name)).select(range(4)).to_list() for name, entry in sandbox.items()}


FORMATS = ("jsonl", "json", "csv", "parquet", "text")


def written(rows: list[dict[str, Any]], format_: str) -> bytes:
    """Rows as a file of a format."""
    if format_ == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode(errors="surrogatepass")
    if format_ == "json":
        return json.dumps(rows).encode()
    if format_ == "text":
        return "\n".join(str(next(iter(row.values()), "")) for row in rows).encode(errors="replace")
    if format_ == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), restval="")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode(errors="surrogatepass")
    return _parquet(rows)


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pa.Table.from_pylist(rows)
    except (pa.ArrowException, OverflowError, TypeError, UnicodeEncodeError):
        table = pa.table({"text": ["x"]})
    out = pa.BufferOutputStream()
    pq.write_table(table, out)
    return bytes(out.getvalue().to_pybytes())


def _rows(rng: random.Random) -> tuple[str, list[dict[str, Any]]]:
    kind = rng.choice(sorted(rows_of()))
    return kind, [dict(row) for row in rows_of()[kind]]


def _entry(format_: str, kind: str, path: str) -> dict[str, Any]:
    return {"kind": format_, "rows": kind, "path": path, **ABOUT}


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("data", "validate", "mine"),
    ("data", "show", "mine"),
    ("check", "smoke", "data=mine", "extend=null"),
    ("data", "ls", "--json"),
)


def entry(rng: random.Random) -> Case:
    """A catalog entry with hostile settings over good files."""
    kind, rows = _rows(rng)
    format_ = rng.choice(FORMATS)
    good = _entry(format_, kind, f"a.{format_}")
    for name in rng.sample(sorted(EXTRAS), rng.choice((0, 1, 1, 2, 3))):
        good[name] = rng.choice(EXTRAS[name])
    changed = mutated(rng, good, rng.choice((0, 0, 0, 1, 2)))
    document = {"mine": changed} if rng.random() < 0.9 else mutated(rng, {"mine": changed}, 2)
    files = {
        f"a.{format_}": written(rows, format_),
        "b.csv": b"id,extra\n1,2\n",
        CATALOG: yaml_bytes(rng, document, (0, 0, 0, 0, 0, 1)),
    }
    return Case("entry", rng.choice(COMMANDS[:3] if rng.random() < 0.9 else COMMANDS), files)


PATHS = (
    "",
    ".",
    "..",
    "**x",
    "**",
    "*",
    "*/",
    "/",
    "a.*",
    "[",
    "a.jsonl/",
    "../a",
    "a\0b",
    "~",
    "x" * 300,
    "**/**/**",
    "{a}",
)
SHAPES = (
    *("transcript", "bbq", "bbq_pairs", "bold", "opinions", "hatecheck", "madlibs", "hhh", "truthfulqa", "stereoset"),
    *("crows_pairs", "winobias", "scored_halves", "scored_wholes", "scored_prompts", "scored_continuations"),
)
EXTRAS: Mapping[str, tuple[Any, ...]] = {
    "path": (*PATHS, [], ["a.jsonl", ""], {}, {"train": "a.jsonl"}, {"": ""}, {"train": []}, {"train": ["a.*", "a.*"]}),
    "columns": ({"prompt": "chosen"}, {"prompt": []}, {"prompt": ["", "x"]}, {"x": "y"}, {"chosen": LONG}),
    "constants": (
        {"domain": 3},
        {"domain": None},
        {"group": ["a", 1]},
        {"prompt": {"a": 1}},
        {"domain": float("nan")},
        {"id": "x"},
    ),
    "keep": (["x"], ["prompt", "prompt"], [""], "prompt", [LONG]),
    "join": (
        {"path": "b.csv", "on": ["id"]},
        {"path": "", "on": ["id"]},
        {"path": ".", "on": [""]},
        {"path": "a\0", "on": []},
    ),
    "shape": SHAPES,
    "skip": (["empty"], ["none"], "empty", [1]),
    "files": (["a.jsonl"], ["z"], [""], "a.jsonl"),
    "splits": (["train"], [""], [1]),
    "split_column": ("domain", "id", "none", "group", ""),
    "split_by": (
        {"column": "prompt", "shares": {"train": 0.5, "test": 0.5}},
        {"column": "none", "shares": {"train": 1}},
        {"column": "group", "shares": {}},
        {"column": "id", "shares": {"a": float("nan"), "b": 1}},
    ),
    "pick": ({"domain": ["x"]}, {"domain": {"a": "x", "b": "x"}}, {"none": ["x"]}, {"group": [1]}, {"id": {}}),
    "default_split": ("train", "none", "", 3),
    "card": ("x.md", ".", "..", "../catalog.yaml", "/etc/passwd", "x" * 300, "", "a\0"),
    "people": ("sandbox", "none", {"d": ["g"]}, {"d": []}, {}),
    "score_range": ([0, 1], [1, 0], [0], [0, float("inf")], ["a", "b"]),
    "member": ("rows", "", LONG),
    "levels": (["a"], ["a", "b"], [""]),
    "starts": ("^#", "(", "(a+)+$", ""),
    "licence": (3, None, LONG),
}


def data_file(rng: random.Random) -> Case:
    """A data file with other values, or other bytes, than its format promises."""
    kind, rows = _rows(rng)
    format_ = rng.choice(FORMATS)
    rows = mutated(rng, rows, rng.choice((0, 0, 1, 2, 4)))
    rows = rows if format_ in ("jsonl", "json") else [row for row in rows if isinstance(row, dict)]
    rows = rows if isinstance(rows, list) else [rows]
    content = written(rows, format_)
    packed = format_ != "parquet" and rng.random() < 0.25
    name = f"a.{format_}{'.gz' if packed else ''}"
    if rng.random() < 0.5 or not rows:
        content = mangled(rng, content, rng.choice((1, 1, 2, 5, 30)))
    if packed:
        content = gzip.compress(content)
        content = mangled(rng, content, 1) if rng.random() < 0.5 else content
    entry_ = _entry(format_, kind, name)
    if rng.random() < 0.2:
        entry_["keep"] = [key(rng)]
    document = yaml.dump({"mine": entry_}).encode()
    return Case("data file", rng.choice(COMMANDS[:3]), {name: content, CATALOG: document})


MAKERS: Mapping[str, Callable[[random.Random], Case]] = {
    "configuration": configuration,
    "mapping": mapping,
    "overrides": overrides,
    "entry": entry,
    "data file": data_file,
}


def case_of(seed: int, kind: str = "") -> Case:
    """The case that a number makes."""
    rng = random.Random(seed)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)  # for making it; it is tried with what people have
    try:
        return MAKERS[kind or rng.choice(sorted(MAKERS))](rng)
    finally:
        sys.setrecursionlimit(limit)
