"""Gives the administrator of an MLflow server that asks for a login the name and secret of now; run before the server.

MLflow itself sets them at its first start alone, so that a changed secret would not count. A process of its own, since
MLflow's users cannot be imported without its server: `python -m pipeline_core.tracking.mlflow.users DATABASE FORMER`,
with the login in `MLFLOW_AUTH_ADMIN_USERNAME` and `MLFLOW_AUTH_ADMIN_PASSWORD`.
"""

from __future__ import annotations

import os
import sys


def set_administrator(address: str, user: str, secret: str, former: str) -> None:
    """Rename or update the administrator in a database of MLflow's users; other users stay.

    `former`: name of the administrator of the last start; empty if there is none.
    """
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(address)
    if former and former != user and store.has_user(former):
        store.delete_user(former)
    if store.has_user(user):
        store.update_user(user, password=secret, is_admin=True)


if __name__ == "__main__":
    set_administrator(
        sys.argv[1], os.environ["MLFLOW_AUTH_ADMIN_USERNAME"], os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"], sys.argv[2]
    )
