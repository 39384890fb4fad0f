"""D12: databases in folders of any name."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from pipeline_core.files.sqlite_addresses import address_of, file_of
from pipeline_core.store.places import Places

NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1, max_size=20)
ODD = ["a?b", "a#b", "a%b", "a%20b", "a b", "a'b", 'a"b', "ä中", "a;b&c=d", "file:x", "a\\b", "a@b:c", "a+b"]


@pytest.mark.parametrize("name", ODD)
def test_d12_sqlalchemy_opens_the_file_that_is_meant(tmp_path, name):
    file = tmp_path / name / "x.db"
    file.parent.mkdir()
    engine = create_engine(address_of(file))
    with engine.begin() as connection:
        connection.execute(text("create table kept (number int)"))
    engine.dispose()
    assert list(tmp_path.rglob("*.db")) == [file]
    with sqlite3.connect(file) as connection:
        assert connection.execute("select name from sqlite_master").fetchall() == [("kept",)]


@given(NAMES.filter(lambda name: name not in (".", "..")))
def test_d12_an_address_tells_its_file(name):
    file = Path("/home") / name / "mlflow.db"
    for driver in ("sqlite", "sqlite+aiosqlite"):
        assert file_of(address_of(file, driver)) == file


def test_d12_ordinary_addresses_stay():
    assert address_of(Path("/home/me @work/mlflow.db")) == "sqlite:////home/me @work/mlflow.db"
    others = ("sqlite://", "sqlite:///:memory:", "postgresql://host/db", "http://host:5000", "databricks")
    assert [file_of(uri) for uri in others] == [None] * len(others)
    assert file_of("sqlite:////tmp/a%20b.db?timeout=5") == Path("/tmp/a%20b.db")  # as SQLAlchemy reads it


@pytest.mark.parametrize(("given", "meant"), [("slash/", "slash"), ("./here", "here"), ("a/../b?", "b?")])
def test_d12_a_home_is_an_absolute_folder(tmp_path, monkeypatch, given, meant):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVENHAND_HOME", given)
    places = Places.from_environment()
    assert places.home == tmp_path / meant
    assert file_of(places.tracking_uri) == tmp_path / meant / "mlflow.db"
