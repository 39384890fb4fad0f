"""Fresh processes that start quickly: a parent that has imported the slow libraries forks a child for every call.

Linux only: elsewhere libraries with threads of their own do not survive a fork, and a new process is started instead.
multiprocessing's fork server is not used: it imports the caller's main module in every child, which would run scripts
without a guard again and count their imports as the plugin's.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

SLOW = (
    "torch",
    "transformers",
    "transformers.models.llama.modeling_llama",  # else every fork imports it with its first model, in two seconds
    "transformers.models.auto.tokenization_auto",
    "datasets",
    "sklearn.linear_model",
    "pipeline_core.stage.run",
)
"""Modules imported before the forks, besides the built-in plugins; none that a check looks for."""


def run_forked(function: str, argument: str, cwd: Path, environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Call `module:function` with a text in a forked process; returns its exit code, stdout and stderr."""
    with tempfile.TemporaryDirectory() as folder:
        request = {
            "function": function,
            "argument": argument,
            "cwd": str(cwd),
            "environment": dict(environment),
            "path": sys.path,
            # files, because nobody reads a pipe while the child runs
            "streams": [f"{folder}/stdout", f"{folder}/stderr"],
        }
        parent = _parent()
        assert parent.stdin and parent.stdout
        parent.stdin.write(json.dumps(request) + "\n")
        parent.stdin.flush()
        answer = parent.stdout.readline()
        out, err = (Path(stream).read_text(encoding="utf-8") for stream in request["streams"])
    return int(answer), out, err


def run_started(function: str, argument: str, cwd: Path, environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Like `run_forked`, in a new process that imports everything itself."""
    module, _, name = function.partition(":")
    code = f"import sys, {module} as module; module.{name}(sys.argv[1])"
    command = [sys.executable, "-c", code, argument]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd=cwd, env=dict(environment)
    )
    return done.returncode, done.stdout, done.stderr


@functools.cache
def _parent() -> subprocess.Popen[str]:
    """The process that forks. It ends with this process, because its stdin closes."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", __name__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def serve() -> None:
    """Fork a child for every request on stdin and print its exit code."""
    from pipeline_core.packages.announced import plugin_entries, plugin_modules

    for name in (*SLOW, *plugin_modules(plugin_entries()[0])):
        with suppress(Exception):  # a later import raises the same error and is reported
            importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _carry_out(json.loads(line))
        _, status = os.waitpid(child, 0)  # one child at a time: the answers need no names
        print(os.waitstatus_to_exitcode(status), flush=True)


def _carry_out(request: Mapping[str, Any]) -> NoReturn:
    code = 1
    try:
        streams = [open(os.devnull), *(open(name, "w") for name in request["streams"])]  # noqa: PTH123, SIM115 - for their numbers
        for number, stream in enumerate(streams):
            os.dup2(stream.fileno(), number)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["cwd"])
        sys.path[:] = request["path"]
        module, _, function = request["function"].partition(":")
        getattr(importlib.import_module(module), function)(request["argument"])
        code = 0
    except BaseException:  # SystemExit too must not return into the parent's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # without the parent's exit handlers


if __name__ == "__main__":
    serve()
