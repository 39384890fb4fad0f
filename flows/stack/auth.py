"""Basic authentication of a stack's servers: where its login comes from, and the variables that carry it.

The login is `EVENHAND_AUTH` (user:secret), which no file then holds, or a generated one in `EVENHAND_HOME/stack/login`,
which its owner alone may read. Command lines, records and logs never hold it.
"""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from pipeline_core.errors import BadInput, EvenhandError
from pipeline_core.files.private import private_folder, write_private
from pipeline_core.files.sqlite_addresses import address_of

VARIABLE = "EVENHAND_AUTH"
USER = "evenhand"
SECRET_BYTES = 24
SHORTEST = 12
"""Characters of the shortest secret; MLflow takes no shorter one."""


@dataclass(frozen=True)
class Login:
    """User and secret of both servers."""

    user: str
    secret: str = field(repr=False)

    @classmethod
    def of(cls, text: str, source: str) -> Login:
        """Login from `user:secret`.

        Raises:
            BadInput: a server would not take it; the message holds no part of it.
        """
        user, _, secret = text.partition(":")
        is_plain = text.isascii() and text.isprintable() and " " not in text
        if not user or len(secret) < SHORTEST or not is_plain:
            raise BadInput(
                f"{source}: give user:secret, in ASCII without blanks, the secret of {SHORTEST} characters or more"
            )
        return cls(user, secret)

    @property
    def text(self) -> str:
        """`user:secret`."""
        return f"{self.user}:{self.secret}"

    def client_environment(self) -> dict[str, str]:
        """Variables by which clients of both servers log in."""
        return {
            "PREFECT_API_AUTH_STRING": self.text,
            "MLFLOW_TRACKING_USERNAME": self.user,
            "MLFLOW_TRACKING_PASSWORD": self.secret,
        }

    def prefect_environment(self) -> dict[str, str]:
        """Variables by which the Prefect server asks for the login, and its own services give it."""
        return {"PREFECT_SERVER_API_AUTH_STRING": self.text, "PREFECT_API_AUTH_STRING": self.text}

    def mlflow_environment(self, folder: Path) -> dict[str, str]:
        """Variables of an MLflow server with `--app-name basic-auth`, which has its configuration in `folder`."""
        return {
            "MLFLOW_AUTH_CONFIG_PATH": str(write_mlflow_config(folder)),
            "MLFLOW_AUTH_ADMIN_USERNAME": self.user,
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.secret,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(SECRET_BYTES),  # of forms; new at every start
        }


def given() -> Login | None:
    """Login that the environment gives, or None.

    Raises:
        BadInput: it is malformed.
    """
    text = os.environ.get(VARIABLE)
    return Login.of(text, VARIABLE) if text else None


def kept(folder: Path) -> Login | None:
    """Login that an earlier start has generated and kept in the stack's folder, or None.

    Raises:
        BadInput: the file is malformed.
    """
    try:
        return Login.of(login_file(folder).read_text(encoding="utf-8").strip(), str(login_file(folder)))
    except FileNotFoundError:
        return None


def login_file(folder: Path) -> Path:
    """File of a generated login, in the stack's folder."""
    return folder / "login"


def given_or_kept(folder: Path) -> Login | None:
    """Login of the stack in `folder`: the environment's, else the kept one."""
    return given() or kept(folder)


def find_or_make(folder: Path) -> Login:
    """Login for a start of the stack; generated and kept if there is none."""
    if found := given_or_kept(folder):
        return found
    made = Login(USER, secrets.token_urlsafe(SECRET_BYTES))
    write_private(login_file(folder), f"{made.text}\n")
    return made


def mlflow_users(folder: Path) -> Path:
    """Database of MLflow's users; SQLite also beside PostgreSQL, so that no file holds that server's password."""
    return folder / "mlflow-users.db"


def write_mlflow_config(folder: Path) -> Path:
    """Write the configuration of MLflow's login, and return it. It holds no secret."""
    private_folder(folder)
    file = folder / "mlflow-auth.ini"
    database = address_of(mlflow_users(folder)).replace("%", "%%")  # the format's own escape
    lines = [
        "[mlflow]",
        "default_permission = READ",
        f"database_uri = {database}",
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds = 60",  # else every request computes a hash that is slow by design
    ]
    write_private(file, "\n".join(lines) + "\n")
    return file


def check_installed() -> None:
    """Refuse a login without the package that MLflow's needs.

    Raises:
        BadInput: it is missing.
    """
    if find_spec("flask_wtf") is None:
        raise BadInput("--auth needs the extra `auth`: pip install -c constraints.txt '.[auth]'")


def set_mlflow_administrator(folder: Path, login: Login, former: str | None) -> None:
    """Give MLflow's administrator the login of now; its server must not run. `former`: name at the last start.

    Raises:
        EvenhandError: MLflow cannot; with the end of its output.
    """
    if not mlflow_users(folder).exists():
        return
    words = ["-m", "pipeline_core.tracking.mlflow.users", address_of(mlflow_users(folder)), former or ""]
    done = subprocess.run(
        [sys.executable, "-P", *words],
        env={**os.environ, **login.mlflow_environment(folder), "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise EvenhandError(f"MLflow did not take the login:\n{done.stderr[-1000:].replace(login.secret, '***')}")


def adopt(environment: Mapping[str, str]) -> None:
    """Set the variables in `environment` that are not set."""
    for name, value in environment.items():
        os.environ.setdefault(name, value)


def exports(folder: Path, login: Login) -> list[str]:
    """Shell lines that give the login to other programs, without holding it."""
    if given():
        whole, secret = f'"${VARIABLE}"', f'"${{{VARIABLE}#*:}}"'
    else:
        file = shlex.quote(str(login_file(folder)))
        whole, secret = f'"$(cat {file})"', f'"$(cut -d: -f2- {file})"'
    return [
        f"export PREFECT_API_AUTH_STRING={whole}",
        f"export MLFLOW_TRACKING_USERNAME={shlex.quote(login.user)}",
        f"export MLFLOW_TRACKING_PASSWORD={secret}",
    ]
