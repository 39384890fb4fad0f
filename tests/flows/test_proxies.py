"""D9: proxies of the environment, with real sockets: a server, a proxy, and a self-signed TLS server."""

import contextlib
import datetime
import http.server
import ipaddress
import json
import os
import socket
import ssl
import threading
import time
from unittest import mock

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline_core.errors import BadInput
from pipeline_core.network.addresses import answers
from pipeline_core.network.proxies import check_network, exceptions, is_loopback, proxies, proxy_for, through
from plugins.extend.llm_rotation._generators import GeneratorFailed
from tests.plugins.extend.scripted_server import completion, serving
from tests.plugins.extend.test_endpoint import ask

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
SOCKS = "socks5://me:secret@192.0.2.1:1080"


def environment(**given):
    """The environment with these proxies and no others."""
    names = (*NAMES, *map(str.upper, NAMES), "SSL_CERT_FILE", "SSL_CERT_DIR")
    others = {name: value for name, value in os.environ.items() if name not in names}
    return mock.patch.dict(os.environ, others | given, clear=True)


@contextlib.contextmanager
def proxy(status=200):
    """An HTTP proxy that answers by itself and notes what it is asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(f"{self.path} {self.headers.get('Proxy-Authorization', '')}".strip())
            content = completion(body, "by proxy")[2]
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_CONNECT(self):
            asked.append(f"CONNECT {self.path}")
            self.send_error(status)

        def do_GET(self):
            asked.append(self.path)
            self.send_error(status)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def certificate(folder, host="127.0.0.1"):
    """A self-signed certificate and its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "own.pem").write_bytes(
        made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, *private)
    )
    return folder / "own.pem"


@contextlib.contextmanager
def tls_server(certificate):
    """A server that speaks TLS; it counts those who knock."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    knocks = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            content = completion(json.loads(self.rfile.read(int(self.headers["Content-Length"]))), "safely")[2]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self):
            connection, address = super().get_request()
            knocks.append(address)
            return context.wrap_socket(connection, server_side=True), address

        def handle_error(self, *_):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_port}/v1", knocks
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("exempt", [{}, {"NO_PROXY": "localhost,[::1]"}])
def test_d9_a_server_on_this_machine_is_asked_without_the_proxy(variable, exempt):
    with serving(lambda server, body: completion(body, "here")) as server, proxy() as (address, asked):
        with environment(**{variable: address}, **exempt):
            assert ask(server.url).text == "here"
            assert ask(server.url.replace("127.0.0.1", "localhost")).text == "here"
        with environment(**{variable: SOCKS}, **exempt):
            assert ask(server.url).text == "here"
    assert asked == []


def test_d9_any_other_server_is_asked_through_the_proxy_and_the_message_names_its_variable():
    with proxy() as (address, asked), environment(HTTP_PROXY=address.replace("//", "//me:secret@")):
        assert ask("http://models.example/v1").text == "by proxy"
        assert asked == ["http://models.example/v1/completions Basic bWU6c2VjcmV0"]
    for status, words in ((407, "refuses the request"), (503, "HTTP 503, 1 attempts")):
        with proxy(status) as (address, _), environment(all_proxy=address.replace("//", "//me:secret@")):
            told = f"through the proxy {address} of all_proxy.*{words}"
            with pytest.raises(GeneratorFailed, match=told) as caught:
                ask("http://models.example/v1", retry_seconds=0)
        assert "secret" not in str(caught.value)
    with proxy() as (address, asked), environment(HTTP_PROXY=address, NO_PROXY="models.example, other"):
        with pytest.raises(GeneratorFailed, match="no answer") as caught:
            ask("http://models.example.invalid.models.example/v1", retry_seconds=0)
        assert asked == [] and "proxy" not in str(caught.value)


def test_d9_a_proxy_that_refuses_a_connection_is_not_asked_for_minutes():
    with proxy(403) as (address, asked), environment(HTTPS_PROXY=address):
        told = f"through the proxy {address} of HTTPS_PROXY: the proxy refuses"
        with pytest.raises(GeneratorFailed, match=told):
            ask("https://models.example/v1", retry_seconds=300)
    assert asked == ["CONNECT models.example:443"]


@pytest.mark.parametrize(
    "value", [SOCKS, "http://[bad", "ftp://x:1", "http://", "http://host:99999", "a b", "http://h\x07"]
)
def test_d9_a_proxy_that_cannot_be_used_is_refused_by_its_variable(value):
    if value == SOCKS and __import__("importlib.util").util.find_spec("socksio"):
        pytest.skip("socksio is installed, and SOCKS works")
    with environment(ALL_PROXY=value):
        for refuse in (check_network, lambda: ask("http://models.example/v1")):
            with pytest.raises(
                BadInput, match="^the environment variable ALL_PROXY names the proxy .*env -u ALL_PROXY"
            ) as caught:
                refuse()
            assert "secret" not in str(caught.value) and len(str(caught.value)) < 250
        assert "ALL_PROXY" in through("http://models.example")


def test_d9_an_untrusted_certificate_fails_at_once(tmp_path):
    own = certificate(tmp_path)
    with tls_server(own) as (url, knocks), environment():
        began = time.monotonic()
        with pytest.raises(GeneratorFailed, match=r"cannot be trusted .*self.signed certificate.*SSL_CERT_FILE"):
            ask(url, retry_seconds=300)
        assert time.monotonic() - began < 30 and len(knocks) == 1
        with environment(SSL_CERT_FILE=str(own)):
            assert ask(url).text == "safely"


def test_d9_certificates_that_are_not_there_are_named_by_their_variable(tmp_path):
    for file in (tmp_path / "none.pem", tmp_path / "bad.pem"):
        (tmp_path / "bad.pem").write_text("no certificate")
        with (
            environment(SSL_CERT_FILE=str(file)),
            pytest.raises(BadInput, match=f"{file.name}.*variable SSL_CERT_FILE names"),
        ):
            ask("https://models.example/v1")


@pytest.mark.parametrize(
    ("variable", "given", "words"),
    [
        ("SSL_CERT_FILE", "folder", "is a folder; the variable SSL_CERT_DIR names one"),
        ("SSL_CERT_FILE", "bad.pem", "holds none that can be read"),
        ("SSL_CERT_FILE", "none.pem", "is not there"),
        ("SSL_CERT_DIR", "none", "is not there"),
    ],
)
def test_d9_certificates_that_cannot_be_read_are_refused_before_anything_is_asked(
    variable, given, words, tmp_path, evenhand
):
    (tmp_path / "bad.pem").write_text("no certificate")
    (tmp_path / "folder").mkdir()
    path = str(tmp_path / given)
    with environment(**{variable: path}), pytest.raises(BadInput) as caught:
        check_network()
    assert str(caught.value).startswith(f"the environment variable {variable} names certificates in {path}, which ")
    assert words in str(caught.value)
    if given in ("folder", "bad.pem"):
        done = evenhand("run", "smoke", **{variable: path})
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
        assert words in done.stderr


def test_d9_the_doctor_says_why_certificates_cannot_be_read(tmp_path, monkeypatch):
    from flows.commands.doctor import _network

    for variable in (*NAMES, *map(str.upper, NAMES), "SSL_CERT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path))
    told = f"{tmp_path} (NOT USABLE: is a folder; the variable SSL_CERT_DIR names one)"
    assert _network()["SSL_CERT_FILE"] == told


@pytest.mark.parametrize("entry", ["fe80::/10", "::/0", "[fe80::]/10"])
def test_d9_a_network_of_version_6_that_no_library_reads_is_refused(entry, evenhand):
    done = evenhand("run", "smoke", NO_PROXY=entry, HTTP_PROXY="http://192.0.2.1:1")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "variable NO_PROXY has the entry" in done.stderr


def test_d9_a_network_of_one_address_is_that_address():
    with environment(NO_PROXY="fe80::1/128,10.0.0.0/8", HTTP_PROXY="http://192.0.2.1:1"):
        assert exceptions() == ["fe80::1", "10.0.0.0/8"]
        check_network()
        assert proxy_for("http://[fe80::1]/v1") is None


def test_d9_a_proxy_without_a_host_is_not_called_none():
    with (
        environment(HTTP_PROXY="http://"),
        pytest.raises(BadInput, match=r"names the proxy \(no address\): that is no"),
    ):
        check_network()


def test_d9_a_server_that_speaks_no_tls_fails_at_once():
    with serving() as server, environment(), pytest.raises(GeneratorFailed, match="does not speak TLS"):
        ask(server.url.replace("http", "https", 1), retry_seconds=300)


@pytest.mark.parametrize("url", ["http://exa{mple/v1", "http://a..b/v1", "http://" + "x" * 70 + ".example/v1"])
def test_d9_an_address_that_cannot_be_asked_is_told_at_once(url):
    with environment(), pytest.raises((BadInput, GeneratorFailed, ValueError)) as caught:
        ask(url, retry_seconds=0)
    assert "Traceback" not in str(caught.value)


def test_d9_whether_a_server_answers_is_asked_without_the_proxy_where_it_is_here():
    with proxy(200) as (address, asked), serving() as server:
        with environment(HTTP_PROXY=address):
            assert answers(server.url)  # 501 for GET: somebody is there
            assert asked == []
            answers("http://models.example/health")
            assert asked == ["http://models.example/health"]
        with environment(ALL_PROXY=SOCKS):
            assert answers(server.url) and not answers("http://models.example/")
    assert not answers("http://[bad/")


def test_d9_hosts_are_this_machine_or_excepted():
    assert all(map(is_loopback, ("localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]")))
    assert not any(map(is_loopback, ("", "localhost.example", "128.0.0.1", "10.0.0.1", "::2", "127.0.0.1.example")))
    entries = " localhost,[::1] ,[fe80::1]:80,.inner.example,*.wild.example,10.0.0.0/8,one.example:81,plain.example,"
    with environment(NO_PROXY=entries, HTTP_PROXY="127.0.0.1:3128", https_proxy="https://p.example"):
        assert exceptions()[:3] == ["localhost", "::1", "fe80::1"]
        found = {host: proxy_for(f"http://{host}/v1") is None for host in (
            "x.inner.example", "inner.example", "y.wild.example", "10.1.2.3", "one.example:81", "plain.example",
            "a.plain.example", "[fe80::1]",
            "11.0.0.1", "one.example", "explain.example", "plain.example.org", "[fe80::2]")}  # fmt: skip
        assert list(found.values()) == [True] * 8 + [False] * 5
        assert proxy_for("http://x.org").url == "http://127.0.0.1:3128"
        assert (proxy_for("https://x.org").variable, proxy_for("https://x.org").shown) == (
            "https_proxy",
            "https://p.example",
        )
        assert [one.variable for one in proxies()] == ["HTTP_PROXY", "https_proxy"]
    with environment(NO_PROXY="*", HTTP_PROXY="127.0.0.1:3128"):
        assert proxy_for("http://x.org") is None and through("http://x.org") == ""


WORDS = st.lists(
    st.sampled_from(["http://", "https://", "socks5://", "[", "]", "::1", "localhost", "10.0.0.0/8", ":", "80", "99999",
                     ".", "*", "a.example", " ", "\t", "@", "me:pw", "/", "é", "%", "{", "?", "#", "\\",
                     ";"]), max_size=5,
).map("".join)  # fmt: skip


@settings(max_examples=150)
@given(st.sampled_from(["HTTP_PROXY", "https_proxy", "ALL_PROXY"]), WORDS, st.lists(WORDS, max_size=3).map(",".join))
@example("ALL_PROXY", "", "localhost,[::1]")
@example("ALL_PROXY", SOCKS, "")
@example("HTTP_PROXY", "é%", "")
@example("HTTP_PROXY", "\t", "")
@example("HTTP_PROXY", " http://a.example:80", "")
@example("HTTP_PROXY", "", "::199999,fe80::/10,1.2.3.999,a:123456,.a.b,*.a,*")
@example("HTTP_PROXY", "", "fe80::/10")
@example("HTTP_PROXY", "", "::1/128,fe80::1%eth0,10.0.0.0/8,::ffff:1.2.3.4")
def test_d9_what_is_not_refused_every_client_bears(variable, value, exempt):
    """With any values HTTP clients can be made after `prepare`, or one is refused."""
    from flows.environment import prepare

    with environment(**{variable: value}, NO_PROXY=exempt):
        prepare()
        try:
            check_network()
        except BadInput as error:
            assert variable in str(error) or "NO_PROXY" in str(error)
            assert len(str(error)) < 300
            return
        httpx.Client(verify=False).close()
        through("http://models.example/v1")


def test_d9_the_doctor_names_the_variable_and_what_is_wrong(evenhand):
    done = evenhand(
        "doctor", ALL_PROXY=SOCKS, NO_PROXY="localhost,[::1]", SSL_CERT_FILE="/nowhere.pem", HF_HUB_OFFLINE="1"
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr and "secret" not in done.stdout
    told = {
        line.split("\t")[1]: line.split("\t")[2]
        for line in done.stdout.splitlines()
        if line.startswith(("network", "databases"))
    }
    assert told["ALL_PROXY"].startswith("socks5://192.0.2.1:1080")
    assert told["prefect"].startswith("NO CLIENT CAN BE MADE: the environment variable SSL_CERT_FILE names")
    assert sorted(told["NO_PROXY"].split(", ")) == ["127.0.0.1", "::1", "localhost"]
    assert told["SSL_CERT_FILE"] == "/nowhere.pem (NOT THERE)"


def test_d9_a_run_is_refused_in_one_sentence(evenhand):
    done = evenhand("run", "smoke", ALL_PROXY="ftp://h:1", NO_PROXY="localhost,[::1]")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        "error: the environment variable ALL_PROXY names the proxy ftp://h:1"
    )


def test_d9_tracking_tells_the_proxy_it_was_asked_through(tmp_path):
    from pipeline_core.tracking.mlflow.client import MlflowTracking
    from pipeline_core.tracking.protocol import TrackingUnavailable

    with socket.socket() as unused, environment(HTTP_PROXY="placeholder"):
        unused.bind(("127.0.0.1", 0))
        os.environ["HTTP_PROXY"] = f"http://127.0.0.1:{unused.getsockname()[1]}"
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        with pytest.raises(TrackingUnavailable, match="through the proxy http://127.0.0.1:.* of HTTP_PROXY"):
            MlflowTracking("http://models.example", str(tmp_path))
