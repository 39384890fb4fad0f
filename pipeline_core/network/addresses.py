"""Addresses of servers: display without credentials, and a check that a server answers."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from pipeline_core.errors import BadInput
from pipeline_core.network.proxies import proxy_for, through

SECRET = "password|passwd|pwd|token|secret|key|sig|signature|credential|auth|sas"
"""Words in the names of address parameters whose values are hidden."""
USER = re.compile(
    r"(?<=://)(?:"
    r"[^/\s:@]*:[^\s@]*@"  # a name and a password
    r"|[^/\s]*@"  # a name
    r"|[^/\s:@]*:(?!\d+(?:[/\s:]|$))(?:(?!://)[^@\n])*@"  # a password with blanks; text after a port is no password
    r")+"
)
ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://(?:(?!://)[^\n])*")
"""Text that is a single address; a value in it may hold blanks."""


def shown_uri(text: str) -> str:
    """Address, or sentence with addresses, without credentials: for messages, logs and links.

    In an address a secret ends at the next parameter, in a sentence also at a blank.
    """
    rest = r"[^&;\n]+" if ADDRESS.fullmatch(text) else r"[^&;\s]+"
    return re.sub(rf"(?i)([?&;][^=&;\s]*(?:{SECRET})[^=&;\s]*=){rest}", r"\1***", USER.sub("", text))


def answers(url: str) -> bool:
    """True if a server answers HTTP requests at `url`."""
    try:
        # Use only the proxy that messages name if no server answers.
        proxy = proxy_for(url)
        # an empty mapping keeps urllib from reading the environment
        given = {urlsplit(url).scheme: proxy.url} if proxy else {}
        with urllib.request.build_opener(urllib.request.ProxyHandler(given)).open(url, timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError:
        return True  # a server is there and may want a key
    except (OSError, ValueError, http.client.HTTPException, BadInput):  # no server, or no address
        return False


def answering(url: str) -> str:
    """Address of a server for people, and the answer of its health page."""
    answer = "answers" if answers(f"{url}/health") else f"DOES NOT ANSWER{through(url)}"
    return f"{shown_uri(url)} ({answer})"
