"""Folders of an installation, and databases in folders of any name (D12)."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, text

from pipeline_core.errors import BadInput, quoted
from pipeline_core.files.sqlite_addresses import address_of, file_of
from pipeline_core.store.places import Places, nearest

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


VARIABLES = ("EVENHAND_HOME", "EVENHAND_STORE", "EVENHAND_DATA", "EVENHAND_TRACKING", "MLFLOW_TRACKING_URI")


@pytest.fixture
def places(monkeypatch):
    """`places(EVENHAND_HOME=...)`: what an environment with these variables, and no other of ours, means."""

    def read(**variables):
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        return Places.from_environment()

    return read


def test_everything_lies_below_the_home_unless_told_otherwise(places, tmp_path, monkeypatch):
    plain = places(EVENHAND_HOME=tmp_path)
    assert (plain.store, plain.runs, plain.data_root) == (tmp_path / "store", tmp_path / "runs", None)
    assert plain.tracking_uri == address_of(tmp_path / "mlflow.db")
    assert plain.artifact_root == (tmp_path / "mlartifacts").as_uri()
    assert plain.tracking == "mlflow"
    told = places(
        EVENHAND_HOME=tmp_path, EVENHAND_STORE=tmp_path / "s", EVENHAND_DATA=tmp_path / "d",
        EVENHAND_TRACKING="json-lines", MLFLOW_TRACKING_URI="http://host:5000",
    )  # fmt: skip
    assert (told.store, told.data_root) == (tmp_path / "s", tmp_path / "d")
    assert (told.tracking, told.tracking_uri) == ("json-lines", "http://host:5000")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places().home == tmp_path / ".evenhand"


@pytest.mark.parametrize("variable", ["EVENHAND_HOME", "EVENHAND_STORE"])
def test_a_file_where_a_folder_should_be_is_named_with_its_variable(places, tmp_path, variable):
    (file := tmp_path / "file").write_text("")
    with pytest.raises(BadInput) as error:
        places(**{"EVENHAND_HOME": tmp_path, variable: file / "below"}).check()
    assert str(error.value) == f"{variable} is '{file / 'below'}': '{file}' is no folder"


def test_a_long_path_is_cut_in_the_message(places, tmp_path):
    (file := tmp_path / ("f" * 190)).write_text("")
    with pytest.raises(BadInput) as error:
        places(EVENHAND_HOME=file / ("g" * 190)).check()
    assert max(map(len, re.findall("'[^']*'", str(error.value)))) < 210


def test_a_home_that_cannot_be_written_is_named_if_something_is_to_be_written(places, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append((path, mode)))  # root may write anywhere
    home = tmp_path / "not yet" / "home"
    places(EVENHAND_HOME=home).check()
    with pytest.raises(BadInput) as error:
        places(EVENHAND_HOME=home).check(writable=True)
    expected = f"EVENHAND_HOME is '{home}', and '{tmp_path}' cannot be written; set EVENHAND_HOME to a writable folder"
    assert str(error.value) == expected
    assert asked == [(tmp_path, os.W_OK | os.X_OK)]
    monkeypatch.undo()
    Places(home, home / "store", "", "", None).check(writable=True)


def test_what_leads_to_no_folder_is_named_with_its_variable(places, tmp_path):
    (loop := tmp_path / "loop").symlink_to(loop)
    with pytest.raises(BadInput, match=re.escape(f"EVENHAND_DATA: {quoted(str(loop))} leads to no folder")):
        places(EVENHAND_HOME=tmp_path, EVENHAND_DATA=loop)
    with pytest.raises(BadInput, match="^EVENHAND_HOME: "):
        places(EVENHAND_HOME="~nobody-of-this-name/x")


def test_the_nearest_folder_that_exists(tmp_path):
    assert nearest(tmp_path) == tmp_path
    assert nearest(tmp_path / "a" / "b") == tmp_path
    assert nearest(tmp_path / ("n" * 300) / "b") == tmp_path  # a name too long to be looked at
