"""A private PostgreSQL cluster in a temporary folder, for those who need one for a while."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.flows.serving import free_port

USERS = ("postgres", "nobody")
"""PostgreSQL refuses to run as root; root runs it as the first of these that exists."""
PROGRAMS = ("initdb", "pg_ctl", "createdb")


class NoPostgres(Exception):
    """There is no PostgreSQL here, or nobody to run it; in a sentence."""


def programs():
    """The folder of PostgreSQL's programs; Debian keeps them out of PATH.

    Raises:
        NoPostgres: it is not installed.
    """
    found = shutil.which("initdb")
    folders = [*([Path(found).resolve().parent] if found else []), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    whole = [folder for folder in folders if all((folder / name).is_file() for name in PROGRAMS)]
    if not whole:
        raise NoPostgres(f"no PostgreSQL on this machine: no folder with {', '.join(PROGRAMS)}")
    return whole[0]


def another_user():
    """The account to run it as, or nothing to stay the present one.

    Raises:
        NoPostgres: root finds no other account.
    """
    if os.geteuid() != 0:
        return None
    for name in USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise NoPostgres("PostgreSQL refuses to run as root, and there is no account to run it as")


@contextlib.contextmanager
def cluster(*databases):
    """A running cluster with these databases; yields its address without a scheme: `user@host:port`."""
    binaries, account = programs(), another_user()
    # Not below pytest's folder, which nobody but its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="evenhand-postgres-"))
    data, port = folder / "data", free_port()
    who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}
    if account:
        os.chown(folder, account.pw_uid, account.pw_gid)

    def call(program, *arguments):
        with (folder / "calls.log").open("ab") as log:
            # Without PG... variables, which would name another cluster.
            clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
            subprocess.run(
                [binaries / program, *map(str, arguments)],
                check=True, cwd=folder, env=clean, stdout=log, stderr=log, timeout=120, **who,
            )  # fmt: skip

    try:
        call("initdb", "--pgdata", data, "--username", "evenhand", "--auth", "trust", "--encoding", "UTF8", "--no-sync")
        call("pg_ctl", "start", "--wait", "--pgdata", data, "--log", folder / "server.log",
             "--options", f"-p {port} -k {folder} -h 127.0.0.1 -F")  # fmt: skip
        try:
            for name in databases:
                call("createdb", "--host", "127.0.0.1", "--port", port, "--username", "evenhand", name)
            yield f"evenhand@127.0.0.1:{port}"
        finally:
            call("pg_ctl", "stop", "--mode", "immediate", "--pgdata", data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
