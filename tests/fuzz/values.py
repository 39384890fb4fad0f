"""Values that were not meant: of other types, sizes and scripts than any setting takes."""

from __future__ import annotations

import copy
import random
from typing import Any

LONG = "long " * 5_000
TEXTS = (
    *(
        "",
        " ",
        "\n",
        "\t",
        "x",
        "nan",
        "null",
        "true",
        "no",
        "~",
        "-",
        ".",
        "..",
        "/",
        "~/x",
        "a/../b",
        "/etc/passwd",
        "**x",
        "*",
    ),
    *(
        "[",
        "{x}",
        "%s",
        "{0}",
        "$HOME",
        "\\",
        "'",
        '"',
        "#",
        "<<",
        "=",
        "!",
        "&a",
        "*a",
        "@",
        "`",
        "|",
        ">",
        "?",
        ":",
        "a: b",
        "a,b",
    ),
    *(
        "010",
        "0o10",
        "0x1f",
        "1_000",
        "1:30",
        "1e5",
        "1e-400",
        "2026-99-99",
        "2026-01-01",
        "²",
        "٣",
        "Ⅷ",
        "１",
        "-1",
        "+1",
        "1.",
        ".5",
    ),
    *(
        "中国",
        "हिन्दी",
        "é",
        "e\u0301",
        "\u202eabc",
        "\ufeff",
        "\u200b",
        "𠮷",
        "😀",
        "\x1b[31m",
        "\x07",
        "\x7f",
        "\u2028",
        "\x85",
    ),
    *(
        "sandbox",
        "sandbox_pairs",
        "base",
        "dpo",
        "tiny_lm",
        "mine",
        "heldout",
        "train",
        "prompt",
        "chosen",
        "id",
        "group",
        "domain",
    ),
    *("(", "(?P<x", "a{99999}", "[[:alpha:]]", "(a+)+$", "x" * 300, "x/" * 300),
)
NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    10**6,
    2**31,
    2**32,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    10**18,
    0.0,
    -0.0,
    0.5,
    1e-320,
    1e308,
    -1e308,
)
ODD_NUMBERS = (float("nan"), float("inf"), -float("inf"), 10**30)


def scalar(rng: random.Random) -> Any:
    """One plain value."""
    kind = rng.random()
    if kind < 0.45:
        return rng.choice(TEXTS)
    if kind < 0.7:
        return rng.choice(NUMBERS)
    if kind < 0.78:
        return rng.choice(ODD_NUMBERS)
    if kind < 0.9:
        return rng.choice((None, True, False))
    if kind < 0.91:
        return LONG
    return "".join(
        chr(rng.choice((rng.randrange(32, 127), rng.randrange(160, 0xD7FF)))) for _ in range(rng.randint(1, 30))
    )


def value(rng: random.Random, depth: int = 0) -> Any:
    """A plain value, or some of them in a list or mapping."""
    kind = rng.random()
    if depth > 3 or kind < 0.6:
        return scalar(rng)
    if kind < 0.8:
        return [value(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 3, 40)))]
    if kind < 0.97:
        return {key(rng): value(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 5)))}
    return nested(rng, scalar(rng))


def nested(rng: random.Random, inner: Any) -> Any:
    """A value deep in lists or mappings."""
    for _ in range(rng.choice((3, 30, 70, 150))):
        inner = [inner] if rng.random() < 0.5 else {"a": inner}
    return inner


def key(rng: random.Random) -> str:
    """A key that may be known somewhere."""
    known = ("name", "label", "data", "entry", "split", "rows", "seed", "policy", "beta", "path", "columns", "kind")
    return rng.choice(known) if rng.random() < 0.6 else str(scalar(rng))


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the values of a document stand, down to the twelfth level."""
    items: list[tuple[Any, Any]] = []
    if isinstance(document, dict) and len(path) < 12:
        items = list(document.items())
    elif isinstance(document, list) and len(path) < 12:
        items = list(enumerate(document))
    return [(*path, one) for one, _ in items] + [place for one, inner in items for place in places(inner, (*path, one))]


def mutated(rng: random.Random, document: Any, times: int) -> Any:
    """A document with some of its values changed, moved, deleted, nested or added."""
    document = copy.deepcopy(document)
    for _ in range(times):
        found = places(document)
        if not found:
            return value(rng)
        *way, last = rng.choice(found)
        parent = document
        for step in way:
            parent = parent[step]
        change = rng.random()
        if change < 0.5:
            parent[last] = value(rng)
        elif change < 0.6:
            del parent[last]
        elif change < 0.63:
            parent[last] = nested(rng, parent[last])
        elif change < 0.85:
            _add(rng, parent, parent[last])
        else:
            parent[last] = _elsewhere(rng, document, found)
    return document


def _add(rng: random.Random, parent: Any, twin: Any) -> None:
    """Something more beside it: an unknown key, or itself once more."""
    added = value(rng) if rng.random() < 0.5 else copy.deepcopy(twin)
    if isinstance(parent, dict):
        parent[key(rng)] = added
    else:
        parent.insert(rng.randint(0, len(parent)), added)


def _elsewhere(rng: random.Random, document: Any, found: list[tuple[Any, ...]]) -> Any:
    inner = document
    for step in rng.choice(found):
        inner = inner[step]
    return copy.deepcopy(inner)


def mangled(rng: random.Random, content: bytes, times: int) -> bytes:
    """Bytes with some replaced, dropped, doubled or swapped."""
    pieces = (
        b"",
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n",
        b"\t",
        b'"',
        b"'",
        b"[",
        b"}",
        b",",
        b":",
    )
    changed = bytearray(content)
    for _ in range(times):
        start = rng.randint(0, len(changed))
        length = rng.choice((0, 1, 1, 2, 8, 64))
        other = rng.randint(0, len(changed))
        new = rng.choice((rng.choice(pieces), bytes([rng.randrange(256)]), bytes(changed[other : other + length])))
        changed[start : start + length] = new
    if rng.random() < 0.1:
        del changed[rng.randint(0, len(changed)) :]
    return bytes(changed)
