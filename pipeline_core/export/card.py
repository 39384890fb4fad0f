"""The card of an exported folder: what it is, where it comes from, its licences, its numbers, how to load it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from pipeline_core.artifacts import MANIFEST
from pipeline_core.export.layout import ENCODER_CODE
from pipeline_core.export.lineage import Lineage
from pipeline_core.files import replace_file
from pipeline_core.modeling.model_sources import LOCAL, NAMES_A_MODEL

TITLES = {"model": "language model", "reward": "reward model", "preferences": "preference data"}
SPDX = {"Apache-2.0", "MIT", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-SA-3.0", "CC-BY-NC-SA-4.0", "CC0-1.0"}
"""Licences that the hub knows by these names in lower case; others are told as `other`."""
ORIGIN = ("source", "made_by", "licence")


def write_card(lineage: Lineage, folder: Path, usage: str, target: Path) -> None:
    """Write the card of the artifact in `folder` to `target`; `usage` is the Python that loads it."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters["figure"] = _figure
    template = environment.from_string((files("pipeline_core.export") / "card.md.j2").read_text(encoding="utf-8"))
    origins = _origins(folder) if lineage.manifest.kind == "preferences" else []
    foreign = _foreign_bases(lineage, folder)
    is_classifier = (target.parent / ENCODER_CODE).exists()
    header = _header(lineage, licences(lineage, origins), is_whole=not foreign, is_classifier=is_classifier)
    text = template.render(
        header=yaml.safe_dump(header, sort_keys=False, allow_unicode=True).strip(),
        title=TITLES[lineage.manifest.kind],
        lineage=lineage,
        manifest=lineage.manifest,
        settings=yaml.safe_dump(lineage.manifest.config, sort_keys=True, allow_unicode=True).strip(),
        usage=usage,
        origins=origins,
        licences=licences(lineage, origins),
        foreign=foreign,
    )
    with replace_file(target) as partial:
        partial.write_text(text, encoding="utf-8")


def licences(lineage: Lineage, origins: list[dict[str, Any]]) -> list[str]:
    """Licences of the rows, and where some rows name none, or it is no table, of all the data behind it."""
    found = [one["licence"] for one in origins if one["licence"]]
    if not origins or any(not one["licence"] for one in origins):
        found += [data.licence for data in lineage.data]
    return sorted(set(found))


def _foreign_bases(lineage: Lineage, folder: Path) -> list[str]:
    """What it was made of by others, in words: a base model, encoders, a word list. Their own licences hold."""
    base = lineage.base
    if lineage.manifest.kind == "reward":
        within = (json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.rglob(f"*/{MANIFEST}")))
        configs = [lineage.manifest.config, *(one["config"] for one in within)]
    else:
        configs = [{"label": base.label} | base.config] if base and not base.data else []
    return list(dict.fromkeys(name for config in configs if (name := _named(config))))


def _named(config: Mapping[str, Any]) -> str:
    if config.get("words") == LOCAL:
        return "a word list that was given as a file"
    names = (config.get(name) for name in (*NAMES_A_MODEL, "label"))
    name = next((name for name in names if name), "")
    return "a model that was given as a folder" if name == LOCAL else str(name)


def _header(lineage: Lineage, known: list[str], *, is_whole: bool, is_classifier: bool) -> dict[str, Any]:
    """The YAML that the hub reads; it names a licence only where all that it was made of is known to have that one."""
    manifest = lineage.manifest
    told = is_whole and not lineage.missing and len(known) == 1 and known[0] in SPDX
    one = known[0] if told else None
    header: dict[str, Any] = {"license": one.lower() if one else "other"}
    if one is None:
        header["license_name"] = "see-card"
    header["tags"] = ["evenhand", "bias", manifest.plugin]
    if manifest.kind == "preferences":
        header["configs"] = [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}]
    else:
        header["datasets"] = sorted({data.ref.entry for data in lineage.data})
    if manifest.kind == "model":
        header |= {"library_name": "transformers", "pipeline_tag": "text-generation"}
    elif is_classifier:
        header |= {"library_name": "transformers", "pipeline_tag": "text-classification"}
    return header


def _origins(folder: Path) -> list[dict[str, Any]]:
    """How many rows come from where: source, what made them, licence."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(folder / "rows.parquet")
    present = [name for name in ORIGIN if name in file.schema_arrow.names]
    counts: Counter[tuple[str, ...]] = Counter()
    for batch in file.iter_batches(columns=present):
        columns = batch.to_pydict()
        counts.update(zip(*([value or "" for value in columns[name]] for name in present), strict=True))
    rows = [dict.fromkeys(ORIGIN, "") | dict(zip(present, key, strict=True)) | {"rows": n} for key, n in counts.items()]
    return sorted(rows, key=lambda row: (-row["rows"], json.dumps(row)))


def _figure(entry: dict[str, Any]) -> str:
    """`12.3 [11.0, 13.5]`, or a dash where undefined."""
    if entry.get("value") is None:
        return "–"
    bounds = entry.get("low"), entry.get("high")
    unit = f" {entry['unit']}" if entry.get("unit") else ""
    interval = f" [{bounds[0]:.4g}, {bounds[1]:.4g}]" if None not in bounds else ""
    return f"{entry['value']:.4g}{interval}{unit}"
