"""Addresses of servers: how they are shown without credentials, and whether somebody answers there."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from pipeline_core.errors import BadInput
from pipeline_core.network.proxies import proxy_for, through

SECRET = "password|passwd|pwd|token|secret|key|sig|signature|credential|auth|sas"
"""Parameters of an address whose names hold one of these are not shown."""
USER = re.compile(
    r"(?<=://)(?:"
    r"[^/\s:@]*:[^\s@]*@"  # a name and a password
    r"|[^/\s]*@"  # a name
    r"|[^/\s:@]*:(?!\d+(?:[/\s:]|$))(?:(?!://)[^@\n])*@"  # a password with blanks; what follows a port is none
    r")+"
)
ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://(?:(?!://)[^\n])*")
"""A text that is one address and nothing else; a value in it may hold blanks."""


def shown_uri(text: str) -> str:
    """An address, or a sentence with addresses in it, without the credentials: for messages, logs and links.

    In an address a secret ends where the next parameter begins, in a sentence also at a blank.
    """
    rest = r"[^&;\n]+" if ADDRESS.fullmatch(text) else r"[^&;\s]+"
    return re.sub(rf"(?i)([?&;][^=&;\s]*(?:{SECRET})[^=&;\s]*=){rest}", r"\1***", USER.sub("", text))


def answers(url: str) -> bool:
    """Whether somebody answers HTTP requests at `url`."""
    try:
        # Of the proxies of the environment only those that are told when nobody answers.
        proxy = proxy_for(url)
        given = {urlsplit(url).scheme: proxy.url} if proxy else {}
        with urllib.request.build_opener(urllib.request.ProxyHandler(given)).open(url, timeout=5) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError:
        return True  # somebody is there and wants, say, a key
    except (OSError, ValueError, http.client.HTTPException, BadInput):  # nobody, or no address at all
        return False


def answering(url: str) -> str:
    """A server's address for people, and whether its health page answers."""
    answer = "answers" if answers(f"{url}/health") else f"DOES NOT ANSWER{through(url)}"
    return f"{shown_uri(url)} ({answer})"
