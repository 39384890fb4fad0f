"""Rows of a catalog entry as a part of a mix."""

from types import SimpleNamespace

from pipeline_core.data.catalog import Catalog
from pipeline_core.data.refs import DataRef
from pipeline_core.data.tables import open_table
from pipeline_core.plugin.context import Inputs
from plugins.extend.catalog_rows import CatalogRowsConfig
from plugins.extend.catalog_rows import run as take
from plugins.extend.mix.plugin import MixConfig
from plugins.extend.mix.plugin import run as mix

PAIRS = DataRef(entry="sandbox_pairs", rows=40, stratify=("domain",))


def test_rows_are_as_they_are_with_their_licence(tmp_path):
    catalog = Catalog.from_environment()
    metrics = take(CatalogRowsConfig(data=PAIRS), Inputs({}, catalog, None), tmp_path, SimpleNamespace(is_main=True))
    rows, own = open_table(tmp_path / "rows.parquet").to_list(), catalog.load(PAIRS).to_list()
    assert [{name: row[name] for name in own[0]} for row in rows] == own
    assert {(row["licence"], row["made_by"], row["source_id"]) for row in rows} == {("Apache-2.0", "", "")}
    assert metrics["rows"] == 40 == sum(value for name, value in metrics.items() if name.startswith("domain/"))


def test_a_mix_takes_them_beside_the_pipelines_own(tmp_path):
    catalog = Catalog.from_environment()
    part, out = tmp_path / "part", tmp_path / "mix"
    part.mkdir(), out.mkdir()
    context = SimpleNamespace(is_main=True, seed=0, device="cpu")
    heldout = DataRef(entry="sandbox_pairs", split="heldout", rows=30)
    take(CatalogRowsConfig(data=heldout), Inputs({}, catalog, None), part, context)
    inputs = Inputs({"part:catalog_rows": part}, catalog, None, PAIRS)
    mix(MixConfig(take={"data": 20, "catalog_rows": 10}, similarity=1.0, quality=None), inputs, out, context)
    rows = open_table(out / "rows.parquet").to_list()
    assert len(rows) == 30 and {row["licence"] for row in rows} == {"Apache-2.0"}
    given = {row["prompt"] for row in catalog.load(heldout).to_list()}
    assert {row["prompt"] for row in rows[20:]} <= given
