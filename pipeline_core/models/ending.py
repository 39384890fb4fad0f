"""The end of a worker process."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End this process as the interpreter does, but without the end of native libraries.

    Threads of torch abort a process in that phase now and then ("terminate called without an active exception"), when
    all work is done and written: the stage would fail.
    """
    threading._shutdown()  # type: ignore[attr-defined] # ends pools of threads, and waits for all but daemons
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
