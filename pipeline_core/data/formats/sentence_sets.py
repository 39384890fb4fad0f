"""Sets of sentences that differ in a stereotype: StereoSet, CrowS-Pairs, WinoBias.

A row's `options` are the stereotyped sentence, the anti-stereotyped one and, in StereoSet, an unrelated one, in this
order; `context` is the text before each of them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline_core.data.chunks import Chunk
from pipeline_core.data.contract import STRINGS
from pipeline_core.data.files import read_chunks
from pipeline_core.data.formats.format import DataFormat, Rows
from pipeline_core.data.row_checks import ValueFault
from pipeline_core.errors import BadInput

LABELS = ("stereotype", "anti-stereotype", "unrelated")
PRO, ANTI = "pro_stereotyped_", "anti_stereotyped_"
OCCUPATIONS = (
    *("accountant", "analyst", "assistant", "attendant", "auditor", "baker", "carpenter", "cashier", "CEO", "chief"),
    *("cleaner", "clerk", "construction worker", "cook", "counselor", "designer", "developer", "driver", "editor"),
    *("farmer", "guard", "hairdresser", "housekeeper", "janitor", "laborer", "lawyer", "librarian", "manager"),
    *("mechanic", "mover", "nurse", "physician", "receptionist", "salesperson", "secretary", "sheriff", "supervisor"),
    *("tailor", "teacher", "writer"),
)
"""The forty occupations of WinoBias, from its `male_occupations.txt` and `female_occupations.txt`."""
OCCUPATION = re.compile(rf"\b(?:{'|'.join(OCCUPATIONS)})\b", re.IGNORECASE)
PRONOUN = re.compile(r"\b(?:(?P<male>he|him|his|himself)|(?P<female>she|her|hers|herself))\b", re.IGNORECASE)


def stereoset(table: pa.Table) -> Rows:
    """Items of StereoSet (arXiv 2004.09456), published or test form: `domain` is the bias type, `group` the target.

    `part` is intersentence (the options follow the context) or intrasentence (the options are whole sentences without
    context). `sentence_ids` are in the order of the options.
    """
    triples = [_three(row) for row in zip(*(_column(table, name) for name in ("sentences", "ids")), strict=True)]
    parts, contexts = table["part"].to_pylist(), table["context"].to_pylist()
    columns = {
        "id": table["id"],
        "context": [context if part == "intersentence" else "" for context, part in zip(contexts, parts, strict=True)],
        "options": pa.array([[text for text, _ in three] for three in triples], STRINGS),
        "domain": table["bias_type"],
        "group": pa.array([[target] for target in table["target"].to_pylist()], STRINGS),
        "part": parts,
        "sentence_ids": pa.array([[name for _, name in three] for three in triples], STRINGS),
    }
    faults = [
        ValueFault(row, "sentences", "options", f"does not hold one sentence of each of {', '.join(LABELS)}")
        for row, three in enumerate(triples)
        if len(three) < len(LABELS)
    ]
    return pa.table(columns), faults


def _column(table: pa.Table, name: str) -> list[Any]:
    return list(table[name].to_pylist()) if name in table.column_names else [None] * table.num_rows


def _three(row: tuple[Any, Any]) -> list[tuple[str, str]]:
    """Text and id of the three sentences in the order of `LABELS`; empty if their labels are others."""
    sentences, ids = row
    if isinstance(sentences, dict):
        sentences = [{"gold_label": k, "sentence": v, "id": (ids or {}).get(k)} for k, v in sentences.items()]
    by_label = {sentence["gold_label"]: (sentence["sentence"], sentence["id"]) for sentence in sentences}
    complete = len(sentences) == len(LABELS) and set(by_label) == set(LABELS)
    return [by_label[label] for label in LABELS] if complete else []


def crows_pairs(table: pa.Table) -> Rows:
    """Pairs of CrowS-Pairs (arXiv 2010.00133): `domain` is the bias type; the more stereotyped sentence is first."""
    pairs = zip(table["sent_more"].to_pylist(), table["sent_less"].to_pylist(), strict=True)
    return pa.table({"options": pa.array([list(pair) for pair in pairs], STRINGS), "domain": table["bias_type"]}), []


def with_anti(name: str, chunk: Chunk) -> Chunk:
    """Pairs of lines of a pro-stereotyped file of WinoBias and its anti-stereotyped twin; no rows for the twin itself.

    Raises:
        BadInput: the twin is missing, or a line number occurs in only one of the two files.
    """
    if chunk.file.name.startswith(ANTI):
        return chunk.take(pa.array([False] * chunk.table.num_rows))  # the other file's rows hold its lines
    twin = chunk.file.with_name(chunk.file.name.replace(PRO, ANTI))
    if PRO not in chunk.file.name or not twin.is_file():
        raise BadInput(f"{name}: {chunk.file}: no {twin.name!r} with its anti-stereotyped lines lies beside it")
    anti = _lines(name, twin)
    pro = [_numbered(line) for line in chunk.table["text"].to_pylist()]
    if absent := [row for row, (number, _) in enumerate(pro) if number not in anti]:
        raise BadInput(f"{name}: {chunk.place(absent[0])}: {twin} has no line numbered {pro[absent[0]][0]!r}")
    if alone := anti.keys() - _lines(name, chunk.file).keys():  # of the whole file: the chunk is a piece of it
        raise BadInput(f"{name}: {chunk.file} has no line numbered {min(alone)!r}, and {twin} has one")
    form, _, split = chunk.file.name.replace(PRO, "").removesuffix(".gz").partition(".txt.")
    columns = {
        "id": [f"{form}/{split}/{number}" for number, _ in pro],
        "pro": [text for _, text in pro],
        "anti": [anti[number] for number, _ in pro],
        "form": [form] * len(pro),
    }
    return replace(chunk, table=pa.table(columns))


def twins(files: Sequence[Path]) -> list[Path]:
    """Anti-stereotyped files read together with pro-stereotyped ones, without those among `files`."""
    beside = [file.with_name(file.name.replace(PRO, ANTI)) for file in files if PRO in file.name]
    return [file for file in beside if file not in files and file.is_file()]


def _lines(name: str, file: Path) -> dict[str, str]:
    """Sentences of a file by their numbers."""
    chunks = read_chunks(file, "text", name)
    return dict(_numbered(line) for chunk in chunks for line in chunk.table["text"].to_pylist())


def _numbered(line: str) -> tuple[str, str]:
    """Number of a line, and its sentence without the brackets that mark who is meant."""
    number, _, text = line.strip().partition(" ")
    return number, " ".join(re.sub(r"[\[\]]", "", text).split())


def winobias(table: pa.Table) -> Rows:
    """Pairs of WinoBias (arXiv 1804.06876): `context` ends before the pronoun, each option begins with a pronoun.

    `domain` is type1 (world knowledge tells who is meant) or type2 (grammar tells), `group` the gender of the
    stereotypical pronoun, `occupations` the two occupations of the sentence (see `_occupations`). Pairs that differ in
    more than pronouns have the fault `prompts_differ`.
    """
    made: dict[str, list[Any]] = {"context": [], "options": [], "group": [], "occupations": []}
    faults = []
    for row, (pro, anti) in enumerate(zip(table["pro"].to_pylist(), table["anti"].to_pylist(), strict=True)):
        first, second = pro.split(" "), anti.split(" ")
        pairs = zip(first, second, strict=False)
        # By words, not letters: `him` and `her` share one.
        cut = next((place for place, (word, other) in enumerate(pairs) if word != other), len(first))
        gender = PRONOUN.match(" ".join(first[cut:]))
        if PRONOUN.sub("_", pro) != PRONOUN.sub("_", anti) or not gender:
            faults.append(ValueFault(row, "anti", "prompts_differ", "differs from its twin in more than pronouns"))
        made["context"].append(" ".join(first[:cut]))
        # The point stands in a faulty row, so that no empty option is a second fault.
        made["options"].append([" ".join(words[cut:]) or "." for words in (first, second)])
        made["group"].append([gender.lastgroup] if gender else [])
        made["occupations"].append(_occupations(pro))
    occupations = pa.array(made["occupations"], pa.string())
    columns = {"id": table["id"], "domain": table["form"], "context": made["context"], "occupations": occupations}
    lists = {name: pa.array(made[name], STRINGS) for name in ("options", "group")}
    return pa.table(columns | lists), faults


def _occupations(sentence: str) -> str:
    """First two occupations of a sentence in alphabetical order: `designer/developer`, whoever acts.

    A third occupation may follow ("... and reported her to the manager"). Empty if fewer than two are in the list.
    """
    named = list(dict.fromkeys(name.lower() for name in OCCUPATION.findall(sentence)))[:2]
    return "/".join(sorted(named)) if len(named) == 2 else ""


FORMATS = (
    DataFormat("stereoset", ("id", "target", "bias_type", "context", "sentences", "part"), stereoset, own_ids=True),
    DataFormat("crows_pairs", ("sent_more", "sent_less", "bias_type"), crows_pairs),
    DataFormat("winobias", ("pro", "anti", "form"), winobias, unfold=with_anti, own_ids=True, beside=twins),
)
