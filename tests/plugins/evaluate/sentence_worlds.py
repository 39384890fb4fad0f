"""Small sets of sentences in the published files' form, written for these tests, and running a suite over them."""

from __future__ import annotations

import json
from types import SimpleNamespace

from pipeline_core.data.catalog import Catalog
from pipeline_core.plugin.context import Inputs
from pipeline_core.plugin.registry import load_registry
from pipeline_core.rewards.reader import RewardArtifacts

TERMS = {"gender": ("aunt", "uncle"), "race": ("northerner", "southerner", "islander")}
ITEMS_PER_TERM = 4
"""Of each part."""


def random_rows(count=60):
    """Items of three sentences whose last words all differ: what a random model prefers is a matter of chance."""
    return [
        {
            "id": f"r{number}",
            "context": "the one is",
            "options": [f"w{number}a", f"w{number}b", f"w{number}c"],
            "domain": "gender",
            "group": [f"term{number}"],
            "source": "test",
        }
        for number in range(count)
    ]


def texts_of(rows):
    """All texts of sentence rows, for the words of a model."""
    return [f"{row['context']} {option}" for row in rows for option in row["options"]]


def stereoset_rows():
    """Items of both parts about every term: words `bad`, `good` and `blue` end the three sentences."""
    rows = []
    for domain, terms in TERMS.items():
        for term in terms:
            for number in range(ITEMS_PER_TERM):
                beginning = f"the {term} is"
                endings = ["bad", "good", "blue"]
                about = {"domain": domain, "group": [term], "source": "test"}
                name = f"{term}/{number}"
                rows.append({"id": f"inter/{name}", "context": beginning, "options": endings, **about})
                whole = [f"{beginning} {ending}" for ending in endings]
                rows.append({"id": f"intra/{name}", "context": "", "options": whole, **about})
    return rows


def inputs_of(rows, folder, model, monkeypatch, name="mine"):
    """Inputs of an evaluation whose `data` is `rows`, put into a catalog of their own."""
    root = folder / "data"
    root.mkdir(exist_ok=True)
    (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    entry = f"{name}: {{kind: jsonl, path: {name}.jsonl, rows: sentences, licence: none, citation: none}}\n"
    (folder / "catalog.yaml").write_text(entry)
    monkeypatch.setenv("EVENHAND_DATA", str(root))
    monkeypatch.setenv("EVENHAND_CATALOG", str(folder / "catalog.yaml"))
    from pipeline_core.data import catalog as module

    module._read_catalog.cache_clear()
    return Inputs(
        folders={"model": model}, catalog=Catalog.from_environment(), rewards=RewardArtifacts(load_registry())
    )


def measure(name, rows, folder, model, monkeypatch, **settings):
    """Metrics of the suite called `name` over `rows`, and what it wrote in `measures.json`."""
    spec = load_registry().get("evaluate", name)
    config = spec.config.model_validate({"name": name, "data": "mine", **settings})
    out = folder / f"out-{name}-{model.name}"
    out.mkdir()
    context = SimpleNamespace(seed=0, device="cpu", is_main=True)
    metrics = spec.run(config, inputs_of(rows, folder, model, monkeypatch), out, context)
    return metrics, json.loads((out / "measures.json").read_text())
