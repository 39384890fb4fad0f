"""Command and environment of a stage's worker: one process, or several under torchrun."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

OF_LAUNCHERS = re.compile(
    r"(LOCAL_|GROUP_|ROLE_)?(RANK|WORLD_SIZE)|ROLE_NAME|MASTER_(ADDR|PORT)|TORCHELASTIC_.*|PET_.*"
)
"""Variables of torchrun and similar launchers; workers do not inherit them from this process."""


def command_of(order_file: Path, processes: int) -> list[str]:
    """Command that carries out an order: a worker, or torchrun with several."""
    # -P: a folder `plugins` in the working folder must not shadow the package.
    python = [sys.executable, "-P", "-m"]
    worker = ["pipeline_core.stage.worker", str(order_file)]
    if processes == 1:
        return [*python, *worker]
    # Standalone: a rendezvous on a free port, so that stages can run side by side. A host's own name may lead nowhere.
    torchrun = ["torch.distributed.run", "--standalone", "--local-addr=127.0.0.1", f"--nproc-per-node={processes}"]
    return [*python, *torchrun, "--module", *worker]


def environment_of(processes: int, threads: int) -> dict[str, str]:
    """Environment of a worker; `threads` is the number of processor threads of all its processes together."""
    # Two torch processes with default thread counts on two cores run about twenty times slower.
    share = max(1, threads // processes)
    inherited = {name: value for name, value in os.environ.items() if not OF_LAUNCHERS.fullmatch(name)}
    return {
        **inherited,
        "OMP_NUM_THREADS": str(share),
        "MKL_NUM_THREADS": str(share),
        "TOKENIZERS_PARALLELISM": "false",  # else tokenizers warn at every later fork
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONUNBUFFERED": "1",  # the end of the output is quoted of a killed worker too
        "PYTHONSAFEPATH": "1",  # as -P, for the ranks that torchrun starts
        "EVENHAND_WATCH_PARENT": "1",
    }
