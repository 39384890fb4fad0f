"""Proxies that the environment names: which variable sends a request where, and what is wrong with it.

HTTP libraries read these variables themselves and differ in what they bear. Here they are read once, so that a message
can name the variable, and so that a server on this machine is never asked for through a proxy.
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
"""Entries of NO_PROXY that all libraries bear, besides addresses and networks: a host or a domain."""
BRACKETS = re.compile(r"^\[([^\[\]]*)\](:\d+)?$")
WITH_SOCKS = ("socks5", "socks5h")


@dataclass(frozen=True)
class Proxy:
    """A proxy: the variable that names it, as the environment spells it, and its address."""

    variable: str
    address: str

    @property
    def url(self) -> str:
        """The address with a scheme; without one it is HTTP's."""
        return self.address if "://" in self.address else f"http://{self.address}"

    @property
    def shown(self) -> str:
        """The address without user and password."""
        with suppress(ValueError):
            parts = urlsplit(self.url)
            if not parts.hostname:
                return "(no address)"
            host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
            return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
        return "(no address)"

    @property
    def fault(self) -> str:
        """Why it cannot be used; empty where it can."""
        try:
            parts = urlsplit(self.url)
            is_address = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            is_address = False
        if not is_address or not self._can_be_read:
            return "that is no address as http://host:port"
        if parts.scheme in WITH_SOCKS:
            return "" if importlib.util.find_spec("socksio") else "SOCKS needs the package socksio, which is not there"
        return "" if parts.scheme in ("http", "https") else f"proxies of the kind {parts.scheme[:20]!r} cannot be used"

    @property
    def _can_be_read(self) -> bool:
        """Whether the HTTP client that is used for most takes it for an address."""
        import httpx

        with suppress(httpx.InvalidURL):
            return bool(httpx.URL(self.url).host) and self.url.isprintable() and " " not in self.url
        return False


def proxies() -> Iterator[Proxy]:
    """All proxies of the environment."""
    for name in (*BY_SCHEME.values(), FOR_ALL):
        if proxy := _named(name):
            yield proxy


def proxy_for(url: str) -> Proxy | None:
    """The proxy that an address is asked through; None for this machine, and for hosts in NO_PROXY.

    Raises:
        BadInput: that proxy cannot be used.
    """
    parts = urlsplit(url)
    if is_loopback(parts.hostname or "") or _excepted(parts.hostname or "", parts.port):
        return None
    proxy = _named(BY_SCHEME.get(parts.scheme, FOR_ALL)) or _named(FOR_ALL)
    if proxy and proxy.fault:
        raise BadInput(_refusal(proxy))
    return proxy


def check_network() -> None:
    """Refuse proxies and places of certificates by which HTTP libraries fail, whatever they are asked for.

    Raises:
        BadInput: that names the variable.
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
    """Why certificates cannot be read where the variable says; empty where they can, or where it is not set."""
    path = os.environ.get(variable, "")
    if not path:
        return ""
    try:
        if not Path(path).exists():
            return "which is not there"
        if variable == "SSL_CERT_FILE":
            ssl.create_default_context(cafile=path)
    except IsADirectoryError:
        return "which is a folder; the variable SSL_CERT_DIR names one"
    except OSError as error:
        return f"which holds none that can be read ({error.strerror or error})"
    return ""


def through(url: str) -> str:
    """`, through the proxy http://host:port of HTTP_PROXY` for a message on an address; empty without one."""
    try:
        proxy = proxy_for(url)
    except BadInput as error:
        return f" ({error})"
    except ValueError:
        return ""
    return f", through the proxy {proxy.shown} of {proxy.variable}" if proxy else ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself: `localhost`, names below it, 127.0.0.0/8, ::1."""
    host = host.strip("[]").rstrip(".").lower()
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def exceptions() -> list[str]:
    """The entries of NO_PROXY. An address of version 6 stands without brackets, and one that is written as a network of
    a single address without its length: some libraries bear neither.
    """
    given = os.environ.get(EXCEPT) or os.environ.get(EXCEPT.upper()) or ""
    found = (entry.strip() for entry in given.split(","))
    plain = (BRACKETS.sub(r"\1", entry) for entry in found if entry)
    return [entry.removesuffix("/128") if ":" in entry else entry for entry in plain]


def _named(name: str) -> Proxy | None:
    """The small spelling counts first, as everywhere. White space is no part of an address, and libraries keep it."""
    for variable in (name, name.upper()):
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
    """Whether an entry of NO_PROXY means a host: its name, a domain above it, a network, with or without a port."""
    if entry == "*":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    name, _, number = entry.lower().partition(":")
    name = name.removeprefix("*").removeprefix(".")
    return bool(name) and (host == name or host.endswith(f".{name}")) and number in ("", str(port))
