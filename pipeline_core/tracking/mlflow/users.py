"""Users of an MLflow server with basic authentication."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline_core.errors import BadInput
from pipeline_core.files.sqlite_addresses import address_of


def check_installed() -> None:
    """Refuse authentication without MLflow's extra.

    Raises:
        BadInput: the extra is missing.
    """
    from importlib.util import find_spec

    if find_spec("flask_wtf") is None:
        raise BadInput("--auth needs the extra `auth`: pip install -c constraints.txt '.[auth]'")


def set_administrator(database: Path, user: str, secret: str, former: str | None) -> None:
    """Give the server's administrator the name and secret of now; other users stay. The server must not run.

    MLflow itself sets them at its first start alone, so that a changed secret would not be taken. `former`: name of the
    administrator of the last start.
    """
    if not database.exists():
        return
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(address_of(database))
    if former and former != user and store.has_user(former):
        store.delete_user(former)
    if store.has_user(user):
        store.update_user(user, password=secret, is_admin=True)
    store.engine.dispose()
