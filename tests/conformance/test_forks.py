import os
import sys
from pathlib import Path

import pytest

from pipeline_core.conformance.forks import run_forked, run_started

RUNNERS = [run_started, pytest.param(run_forked, marks=pytest.mark.skipif(sys.platform != "linux", reason="forks"))]
SEEN = []


def tell(argument):
    SEEN.append(argument)
    print(argument, os.environ.get("MARK"), Path.cwd(), len(SEEN), sys.stdin.read())
    print("aside", file=sys.stderr)


def fail(argument):
    raise ValueError(argument)


@pytest.mark.parametrize("run", RUNNERS)
def test_a_call_has_its_own_place_environment_and_memory(run, tmp_path):
    environment = {**os.environ, "MARK": "mine", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    for word in ("one", "two"):
        code, out, err = run(f"{__name__}:tell", word, tmp_path, environment)
        assert (code, out.split()) == (0, [word, "mine", str(tmp_path), "1"])
        assert err.strip() == "aside"
    assert "MARK" not in os.environ and SEEN == []
    code, out, err = run(f"{__name__}:fail", "it broke", tmp_path, environment)
    assert code == 1 and "ValueError: it broke" in err
