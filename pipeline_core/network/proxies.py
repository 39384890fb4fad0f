"""Proxies of the environment: the variable that applies to a request, and faults of its value.

HTTP libraries read these variables themselves and differ in what they accept. They are read here once, so that a
message can name the variable, and so that a server on this machine is never reached through a proxy.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from pipeline_core.errors import BadInput, shortened

BY_SCHEME = {"http": "http_proxy", "https": "https_proxy"}
FOR_ALL = "all_proxy"
EXCEPT = "no_proxy"
HOSTS = re.compile(r"\*|(\*?\.)?[\w-]+(\.[\w-]+)*(:\d{1,5})?", re.ASCII)
"""Entries of NO_PROXY that all libraries accept, besides addresses and networks: a host or a domain."""
BRACKETS = re.compile(r"^\[([^\[\]]*)\](:\d+)?$")
WITH_SOCKS = ("socks5", "socks5h")  # those that httpx knows


@dataclass(frozen=True)
class Proxy:
    """Proxy: its address, and the variable that names it, as the environment spells it."""

    variable: str
    address: str

    @property
    def url(self) -> str:
        """Address with a scheme; HTTP if it has none."""
        return self.address if "://" in self.address else f"http://{self.address}"

    @property
    def shown(self) -> str:
        """Address without user and password."""
        # `port` is read when it is asked for, and raises
        with suppress(ValueError):
            parts = urlsplit(self.url)
            if host := parts.hostname:
                host = f"[{host}]" if ":" in host else host
                return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
        return "(no address)"

    @property
    def fault(self) -> str:
        """Reason why the proxy cannot be used; empty if it can."""
        try:
            parts = urlsplit(self.url)
            is_address = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            is_address = False
        if not is_address or not self._can_be_read:
            return "that is no address as http://host:port"
        if parts.scheme in WITH_SOCKS:
            # httpx raises ImportError without it, when a client is made
            return "" if importlib.util.find_spec("socksio") else "SOCKS needs the package socksio, which is not there"
        return "" if parts.scheme in ("http", "https") else f"proxies of the kind {parts.scheme[:20]!r} cannot be used"

    @property
    def _can_be_read(self) -> bool:
        """True if httpx, the client of most HTTP requests, accepts the address."""
        import httpx

        with suppress(httpx.InvalidURL):
            # httpx 0.28 takes a blank for a part of the host: "a b" is `a%20b`
            return bool(httpx.URL(self.url).host) and self.url.isprintable() and " " not in self.url
        return False


def proxies() -> Iterator[Proxy]:
    """Proxies of the environment."""
    for name in (*BY_SCHEME.values(), FOR_ALL):
        if proxy := _named(name):
            yield proxy


def proxy_for(url: str) -> Proxy | None:
    """Proxy for requests to an address; None for this machine, and for hosts in NO_PROXY.

    Raises:
        BadInput: the proxy cannot be used.
    """
    parts = urlsplit(url)
    # at the proxy, `localhost` is another machine
    if is_loopback(parts.hostname or "") or _excepted(parts.hostname or "", parts.port):
        return None
    proxy = _named(BY_SCHEME.get(parts.scheme, FOR_ALL)) or _named(FOR_ALL)
    if proxy and proxy.fault:
        raise BadInput(_refusal(proxy))
    return proxy


def check_network() -> None:
    """Refuse proxies and certificate paths with which HTTP libraries fail at any address.

    Raises:
        BadInput: names the variable.
    """
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if fault := certificate_fault(name):
            raise BadInput(
                f"the environment variable {name} names certificates in {shortened(os.environ[name])}, {fault}"
            )
    for proxy in proxies():
        if proxy.fault:
            raise BadInput(_refusal(proxy))
    for entry in exceptions():
        if not HOSTS.fullmatch(entry) and not _is_network(entry):
            raise BadInput(f"the environment variable NO_PROXY has the entry {entry[:80]!r}, which names no host")
        if ":" in entry and "/" in entry:
            raise BadInput(
                f"the environment variable NO_PROXY has the entry {entry[:80]!r}: no HTTP library reads a network of "
                "IP version 6; name its addresses, or leave it out"
            )


def certificate_fault(variable: str) -> str:
    """Reason why certificates cannot be read at the variable's path; empty if they can, or if it is not set."""
    path = os.environ.get(variable, "")
    if not path:
        return ""
    try:
        if not Path(path).exists():
            return "which is not there"
        if variable == "SSL_CERT_FILE":
            ssl.create_default_context(cafile=path)  # reading them is the only test
    except IsADirectoryError:
        return "which is a folder; the variable SSL_CERT_DIR names one"
    except OSError as error:
        return f"which holds none that can be read ({error.strerror or error})"
    return ""


def through(url: str) -> str:
    """`, through the proxy http://host:port of HTTP_PROXY` for a message about an address; empty without a proxy."""
    try:
        proxy = proxy_for(url)
    except BadInput as error:
        return f" ({error})"
    except ValueError:
        return ""
    return f", through the proxy {proxy.shown} of {proxy.variable}" if proxy else ""


def is_loopback(host: str) -> bool:
    """True if a host is this machine itself: `localhost`, names below it, 127.0.0.0/8, ::1."""
    host = host.strip("[]").rstrip(".").lower()
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def exceptions() -> list[str]:
    """Entries of NO_PROXY. IPv6 addresses lose their brackets, and IPv6 networks of a single address their length: some
    libraries accept neither.
    """
    given = os.environ.get(EXCEPT) or os.environ.get(EXCEPT.upper()) or ""
    entries = (entry.strip() for entry in given.split(","))
    # httpx 0.28 makes a URL of each entry: `[::1]` and `::1/128` raise InvalidURL
    plain = (BRACKETS.sub(r"\1", entry) for entry in entries if entry)
    return [entry.removesuffix("/128") if ":" in entry else entry for entry in plain]


def _named(name: str) -> Proxy | None:
    """Proxy of a variable, lower case first. White space in the value is kept, as by libraries; `fault` tells of it."""
    for variable in (name, name.upper()):  # the order of `urllib.request.getproxies`, which httpx follows
        if value := os.environ.get(variable, ""):
            return Proxy(variable, value)
    return None


def _refusal(proxy: Proxy) -> str:
    return (
        f"the environment variable {proxy.variable} names the proxy {proxy.shown}: {proxy.fault}; "
        f"mend it, or run without it (`env -u {proxy.variable} evenhand ...`)"
    )


def _is_network(entry: str) -> bool:
    with suppress(ValueError):
        ipaddress.ip_network(entry, strict=False)
        return True
    return False


def _excepted(host: str, port: int | None) -> bool:
    return any(_covers(entry, host.lower(), port) for entry in exceptions())


def _covers(entry: str, host: str, port: int | None) -> bool:
    """True if an entry of NO_PROXY covers a host: its name, a domain above it, a network, with or without a port."""
    if entry == "*":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    name, _, number = entry.lower().partition(":")
    name = name.removeprefix("*").removeprefix(".")
    return bool(name) and (host == name or host.endswith(f".{name}")) and number in ("", str(port))
