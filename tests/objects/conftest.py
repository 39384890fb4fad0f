import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid

import pytest

from tests.flows.conftest import ROOT

pytest.importorskip("moto")
pytest.importorskip("s3fs")


class Server:
    """A process with moto's S3 server; its buckets live as long as it."""

    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen([sys.executable, "-m", "tests.objects.server", str(self.port)], cwd=ROOT)
        for _ in range(600):
            try:
                self.faults("none")
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def faults(self, plan):
        with urllib.request.urlopen(f"{self.url}/faults/{plan.replace('/', '%2F')}", timeout=30) as answer:
            return answer.read().decode().splitlines()

    def suspend(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def session_server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server(session_server, monkeypatch):
    """The server without faults, named by the environment."""
    session_server.faults("none")
    for name, value in {
        "AWS_ENDPOINT_URL": session_server.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "planted-secret-of-a-bucket",
        "AWS_DEFAULT_REGION": "us-east-1",
        "EVENHAND_STORE_PATIENCE": "20",
    }.items():
        monkeypatch.setenv(name, value)
    yield session_server
    session_server.resume()
    session_server.faults("none")


@pytest.fixture
def address(server):
    """Address of an empty store in a bucket of its own."""
    import boto3

    name = f"bucket-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}/some/prefix"


@pytest.fixture
def host(address, tmp_path):
    """Stores of hosts: each call is a host with a cache of its own, all share one bucket."""
    from pipeline_core.objects.address import BucketAddress
    from pipeline_core.objects.bucket import Bucket
    from pipeline_core.objects.store import ObjectStore

    def make(name):
        return ObjectStore(tmp_path / name, Bucket(BucketAddress.parse(address)))

    return make


@pytest.fixture
def environment(address):
    """Variables of a process that uses the bucket."""
    return {**os.environ, "EVENHAND_STORE": address, "PYTHONPATH": str(ROOT)}
