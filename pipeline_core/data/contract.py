"""The row contract: columns of each kind of table, and defaults for columns that the source does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import pyarrow as pa

RowKind = Literal["preference", "prompt", "scored", "question", "text", "choice", "sentences"]

STRINGS = pa.list_(pa.string())
CONDITIONS = ("ambiguous", "disambiguated")
CONTRACT_VERSION = 1
"""Version of the contract; increased when the same source gives other rows."""
READER_VERSION = 5
"""Version of the reader; increased when files are read more exactly and correct files give the same rows. Cached rows
are then made again; keys of stages stay."""

_PEOPLE = {"domain": pa.string(), "group": STRINGS, "source": pa.string()}
_CHOICE = {"options": STRINGS, "label": pa.int64()}

SCHEMAS: Mapping[RowKind, pa.Schema] = {
    "preference": pa.schema(
        {"id": pa.string(), "prompt": pa.string(), "chosen": pa.string(), "rejected": pa.string()}
        | _PEOPLE
        | {"template_id": pa.string(), "label": pa.float64()}
    ),
    "prompt": pa.schema({"id": pa.string(), "prompt": pa.string()} | _PEOPLE | {"template_id": pa.string()}),
    "scored": pa.schema(
        {"id": pa.string(), "prompt": pa.string(), "completion": pa.string(), "score": pa.float64()} | _PEOPLE
    ),
    "question": pa.schema(
        {"id": pa.string(), "context": pa.string(), "question": pa.string()}
        | _CHOICE
        | {"biased": pa.int64(), "unknown": pa.int64(), "condition": pa.string(), "polarity": pa.string()}
        | {"domain": pa.string(), "group": STRINGS, "names": pa.bool_()}
    ),
    "text": pa.schema({"id": pa.string(), "text": pa.string(), "domain": pa.string(), "source": pa.string()}),
    "choice": pa.schema(
        {"id": pa.string(), "prompt": pa.string()} | _CHOICE | {"domain": pa.string(), "source": pa.string()}
    ),
    "sentences": pa.schema({"id": pa.string(), "context": pa.string(), "options": STRINGS} | _PEOPLE),
}

DEFAULTS: Mapping[str, Any] = {
    "domain": "",
    "group": [],
    "source": "",
    "template_id": "",
    "label": None,
    "context": "",
    "polarity": "",
    "names": False,
    "biased": -1,
    "unknown": -1,
}
"""Values of columns that the source does not have; columns in `REQUIRED` must be there."""

REQUIRED: Mapping[RowKind, tuple[str, ...]] = {
    "preference": ("prompt", "chosen", "rejected"),
    "prompt": ("prompt",),
    "scored": ("completion", "score"),
    "question": ("question", "options", "label", "condition"),
    "text": ("text",),
    "choice": ("prompt", "options", "label"),
    "sentences": ("options",),
}
NOT_EMPTY = frozenset({"prompt", "chosen", "rejected", "completion", "question", "text"})
