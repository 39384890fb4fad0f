"""Names and texts within MLflow's limits. Pure functions without MLflow."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

# Limits of MLflow 3 (`mlflow.utils.validation`), checked by its server and its database.
NAME_LENGTH = 250
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
PARAMS_PER_BATCH = 100
METRICS_PER_BATCH = 1000

T = TypeVar("T")
OF_ONE = re.compile(r"(?P<before>validation/)?(?P<kind>group|domain)/(?P<name>.+)/(?P<metric>[a-z_]+)")
"""A metric of one group or domain."""


class MlflowNames:
    """Maps names to names that MLflow accepts; two different names never become the same."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._taken: set[str] = set()

    def __getitem__(self, name: str) -> str:
        if name not in self._given:
            clean = clean_name(charted(name))
            if clean in self._taken:  # a group may have the name that another group's name was changed to
                clean = _marked(clean, name)
            self._given[name] = clean
            self._taken.add(clean)
        return self._given[name]


def charted(name: str) -> str:
    """`group/NAME/loss` as `group_loss/NAME`, also after `validation/`, and likewise for domains.

    MLflow's pages make a section of charts of the text before the last slash: so one for each kind, not for each group.
    """
    match = OF_ONE.fullmatch(name)
    if match is None:
        return name
    return f"{match['before'] or ''}{match['kind']}_{match['metric']}/{match['name'].replace('/', ' - ')}"


def clean_name(name: str) -> str:
    """`name` as MLflow accepts it: letters of any script, digits and `_-. ` between slashes, at most 250 characters.

    A part between slashes that must be changed gets a digest of itself, so that the result depends on no other name:
    `group/50% mixed/loss` becomes `group/50_ mixed-01234567/loss`, with eight hex digits of the digest.
    """
    clean = "/".join(map(_clean_part, str(name).split("/")))
    return clean if len(clean) <= NAME_LENGTH else _marked(clean, str(name))


def _clean_part(part: str) -> str:
    clean = re.sub(r"[^\w.\- ]", "_", part).strip()
    clean = "_" if clean in ("", ".", "..") else clean  # MLflow refuses names that another path would equal
    return clean if clean == part else _marked(clean, part)


def _marked(clean: str, original: str) -> str:
    """`clean` with a digest of the original at its end, within the length of a name."""
    mark = hashlib.sha256(original.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{clean[: NAME_LENGTH - 9].rstrip('/ ')}-{mark}"


def cut(text: str, length: int) -> str:
    """`text` in at most `length` characters; a text that is cut ends with its original length."""
    if len(text) <= length:
        return text
    note = f"... ({len(text)} characters)"
    return text[: length - len(note)] + note


def batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Consecutive lists of at most `size` items."""
    rest = iter(items)  # `itertools.batched` comes with Python 3.12
    while batch := list(islice(rest, size)):
        yield batch
