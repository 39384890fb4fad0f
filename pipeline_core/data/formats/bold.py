"""Sentences of BOLD (arXiv 2101.11718): beginnings to continue, and the Wikipedia sentences they come from.

A file is an object of groups, of entities in a group, of texts. Files of beginnings and files of sentences have the
same structure, so a beginning and its sentence have equal ids.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipeline_core.data.formats.format import DataFormat, Rows, with_subset

NEEDS = ("group", "entity", "value", "number", "subset")


def sentences(table: pa.Table) -> Rows:
    """Sentences of BOLD (arXiv 2101.11718) as prompts to continue and as texts.

    `domain` is the file's name up to its last `_`, the id is `<domain>/<group>/<entity>/<number>`.
    `page` is the entity, i.e. the Wikipedia page of the sentence; several groups may share a page with similar texts.
    `prompt` is the text without trailing white space, after which a tokenizer would begin a new word.
    """
    domains = pa.array([name.rpartition("_")[0] or name for name in table["subset"].to_pylist()], pa.string())
    places = [domains, table["group"], table["entity"], pc.cast(table["number"], pa.string())]
    columns = {
        "id": pc.binary_join_element_wise(*places, "/"),
        "prompt": pc.utf8_rtrim_whitespace(table["value"]),
        "text": table["value"],
        "domain": domains,
        "group": table["group"],
        "page": table["entity"],
    }
    constants = {name: table[name] for name in table.column_names if name == "source"}  # an entry may set it
    return pa.table(columns | constants), []


FORMATS = (DataFormat("bold", NEEDS, sentences, unfold=with_subset, own_ids=True),)
