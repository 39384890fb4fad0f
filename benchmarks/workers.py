"""Competitors in processes of their own, each in an environment of its own, told step by step to go on."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import torch
import transformers


class Worker:
    """A competitor in a process of its own."""

    def __init__(self, command: list[str], settings: dict[str, Any], threads: int) -> None:
        variables = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [*command, json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **variables},
            text=True,
        )
        self.ready = self._read()

    def step(self, order: str = "") -> dict[str, Any]:
        """One step; what the worker says of it. With the order `count` it says how many operations it took."""
        assert self._process.stdin
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """Let it end."""
        self._process.communicate(timeout=60)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self._process.args[0]} ended with {self._process.wait()}")
        found: dict[str, Any] = json.loads(line)
        return found


def environment(peer: str) -> str:
    """Python of an environment with the peer and the same torch and transformers, made at the first time.

    Where the peer does not go together with that transformers it gets the one it asks for; versions are printed.
    """
    pins = [f"torch=={torch.__version__.split('+')[0]}", f"transformers=={transformers.__version__}"]
    name = hashlib.sha256(f"{peer}{pins}".encode()).hexdigest()[:12]
    folder = Path.home() / ".cache" / "evenhand-benchmarks" / name
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"making an environment with {peer} ...", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "-q"]
        subprocess.run([*install, *pins], check=True, stdout=sys.stderr)
        wanted = [peer, "requests"]  # which trl 1.9 imports and does not ask for
        if subprocess.run([*install, *wanted, *pins], check=False, stdout=sys.stderr).returncode:
            subprocess.run([*install, *wanted, pins[0]], check=True, stdout=sys.stderr)
        (folder / "ready").touch()
    return str(python)
