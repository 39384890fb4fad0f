"""Databases of a PostgreSQL server."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline_core.errors import BadInput
from pipeline_core.network.addresses import shown_uri


def create_databases(address: str, names: Sequence[str]) -> None:
    """Create the databases that are missing on the server `postgresql://user:secret@host`.

    Raises:
        BadInput: the driver is missing, the server does not answer, or the user may not create databases.
    """
    try:
        import psycopg2
        from psycopg2 import sql
    except ModuleNotFoundError:
        raise BadInput("--database needs the extra `postgres`: pip install 'evenhand[postgres]'") from None
    try:
        connection = psycopg2.connect(address, dbname="postgres", connect_timeout=10)
    except psycopg2.OperationalError as error:
        raise BadInput(f"--database: {shown_uri(address)} does not answer: {str(error).strip()}") from None
    try:
        connection.autocommit = True  # databases cannot be created in a transaction
        with connection.cursor() as cursor:
            for name in names:
                cursor.execute("select 1 from pg_database where datname = %s", (name,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    except psycopg2.Error as error:
        raise BadInput(f"--database: {shown_uri(address)}: {str(error).strip()}") from None
    finally:
        connection.close()
