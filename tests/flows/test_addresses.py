"""R12: addresses of servers: what is none is told, and what is secret in one is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import server
from flows.server import answers, prefect_api
from pipeline_core.config import load_config
from pipeline_core.errors import BadInput


@pytest.mark.parametrize(
    "address", ["", "nonsense", "http://", "http://[", "http://host:port", "http://a b", "file:///x"]
)
def test_nobody_answers_at_what_is_no_address(address):
    assert not answers(address)


def test_r12_the_credentials_of_a_prefect_server_are_not_shown(monkeypatch):
    monkeypatch.setattr(server, "configured_url", lambda: "http://me:my pass@127.0.0.1:1/api?sig=abc")
    with (
        pytest.raises(BadInput, match="no Prefect server answers at http://127.0.0.1:1/api") as caught,
        prefect_api(Path()),
    ):
        pass
    assert "pass" not in str(caught.value) and "abc" not in str(caught.value)


def test_d18_a_document_of_a_server_that_is_nested_too_deep():
    deep = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(BadInput, match="nested too deep"):
        load_config({"base": deep})
