"""Strict YAML: every value is read as written, or refused with its line.

Errors, unlike in PyYAML's safe loader: a key written twice in a mapping, an alias within its own anchor, nesting deeper
than `MOST_LEVELS`, aliases that stand for more than `MOST_REPEATED` values, tags other than those of JSON's types, and
a number with a leading zero, since YAML 1.1 reads `010` as 8 and YAML 1.2 as 10. Texts, unlike there: keys as written;
`yes`, `no`, `on`, `off`, dates, `1_000`, `1:30`, `0x1f` and `0b1` (a setting that is a number or a truth value still
reads the first four and `1_000`). Merge keys (`<<`) keep their meaning.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from pipeline_core.errors import quoted

MOST_LEVELS = 60
"""Maximum depth of nested values, with aliases followed."""
MOST_REPEATED = 100_000
"""Maximum number of values that aliases stand for, in addition to written values."""
LARGEST = 2**63
"""Bound of whole numbers, exclusive; a larger number needs quotes, as a text."""
TAG = "tag:yaml.org,2002:"
MERGE = f"{TAG}merge"
PLAIN = {
    "merge": (r"<<", "<"),
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
}
"""Patterns of scalars without quotes that are not texts, and their first characters."""


class Loader(yaml.SafeLoader):
    """Loader of YAML that people write."""

    # Empty: SafeLoader's resolvers read `no`, `1:30` and dates by YAML 1.1.
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own form
    yaml_constructors = {  # noqa: RUF012
        f"{TAG}{name}": yaml.SafeLoader.yaml_constructors[f"{TAG}{name}"] for name in ("null", "str", "seq", "map")
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._level = 0
        self._extent: dict[int, tuple[int, int]] = {}
        self._repeated = 0
        self._replaced: list[Node] = []  # kept alive, since `_extent` identifies nodes by `id`

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Compose a node; refuse nesting that is too deep and aliases that stand for too many values."""
        is_alias = self.check_event(yaml.AliasEvent)
        event = self.peek_event()
        self._level += 1
        if self._level > MOST_LEVELS:
            raise ConstructorError(None, None, f"values are nested deeper than {MOST_LEVELS} levels", event.start_mark)
        node = super().compose_node(parent, index)
        self._level -= 1
        if node is not None:
            self._measure(node, event, is_alias)
        return node

    def _measure(self, node: Node, event: Any, is_alias: bool) -> None:
        if is_alias:
            # PyYAML knows an anchor before its value is complete.
            if id(node) not in self._extent:
                raise ConstructorError(None, None, f"{quoted(event.anchor)} refers to itself", event.start_mark)
            # Nine anchors, each of ten aliases of the one before, stand for a billion values (D18).
            self._repeated += self._extent[id(node)][0]
            if self._repeated > MOST_REPEATED or self._level + self._extent[id(node)][1] > MOST_LEVELS:
                raise ConstructorError(None, None, "aliases stand for too many values", event.start_mark)
            return
        children = [child for item in node.value for child in (item if isinstance(item, tuple) else (item,))]
        sizes = [self._extent[id(child)] for child in children] if isinstance(node, CollectionNode) else []
        size, levels = 1 + sum(size for size, _ in sizes), 1 + max((height for _, height in sizes), default=0)
        self._extent[id(node)] = size, levels

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        """Compose a mapping; refuse keys that are not texts or that occur twice."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for place, (key, value) in enumerate(node.value):
            if not isinstance(key, ScalarNode):
                raise ConstructorError(None, None, "a key must be a text", key.start_mark)
            line = key.start_mark.line + 1
            if key.value in lines:
                there = f"stands in line {lines[key.value]} already"
                raise ConstructorError(None, None, f"the key {quoted(key.value)} {there}", key.start_mark)
            lines[key.value] = line
            if key.tag != MERGE:
                text = ScalarNode(f"{TAG}str", key.value, key.start_mark, key.end_mark)
                self._extent[id(text)] = (1, 1)
                self._replaced.append(key)
                node.value[place] = (text, value)
        return node

    def construct_scalar(self, node: ScalarNode | MappingNode) -> Any:
        """Text of a scalar; refuse characters that no file can hold."""
        value = super().construct_scalar(node)
        if isinstance(value, str) and re.search("[\ud800-\udfff]", value):  # JSON may escape a character as two halves
            value = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        if isinstance(value, str) and (half := re.search("[\ud800-\udfff]", value)):
            reason = f"holds half of a character (the lone surrogate \\u{ord(half[0]):04x})"
            raise ConstructorError(None, None, reason, node.start_mark)
        if isinstance(value, str) and (bad := re.search("\0", value)):
            raise ConstructorError(None, None, f"character U+{ord(bad[0]):04X} is no text", node.start_mark)
        return value

    def whole(self, node: ScalarNode) -> int:
        """Whole number in decimal digits."""
        text = self.construct_scalar(node)
        digits = text.lstrip("+-")
        if not re.fullmatch(r"[-+]?[0-9]+", text):
            raise ConstructorError(None, None, f"{quoted(text)} is no whole number", node.start_mark)
        if digits[0] == "0" and digits != "0":
            meant = digits.lstrip("0") or "0"
            octal = f"{int(digits, 8)} to some readers of YAML and {meant} to others" if _is_octal(digits) else meant
            reason = f"{quoted(text)} begins with a zero: it is {octal}; write it without, or in quotes as a text"
            raise ConstructorError(None, None, reason, node.start_mark)
        if len(digits) > 19 or not -LARGEST <= int(text) < LARGEST:  # `int` refuses texts over 4,300 digits
            reason = f"{quoted(text)} is too large for a number; a text takes quotes"
            raise ConstructorError(None, None, reason, node.start_mark)
        return int(text)

    def decimal(self, node: ScalarNode) -> float:
        """Number with a decimal point."""
        text = self.construct_scalar(node)
        try:
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            raise ConstructorError(None, None, f"{quoted(text)} is no number", node.start_mark) from None

    def truth(self, node: ScalarNode) -> bool:
        """Truth value, `true` or `false`."""
        text = self.construct_scalar(node).lower()
        if text not in ("true", "false"):
            raise ConstructorError(None, None, f"{quoted(text)} is neither true nor false", node.start_mark)
        return bool(text == "true")

    def refused(self, node: Node) -> Any:
        """Refuse any other tag."""
        tag = node.tag.replace(TAG, "!!")
        raise ConstructorError(None, None, f"the tag {quoted(tag)} is not taken here", node.start_mark)


def _is_octal(digits: str) -> bool:
    return len(digits) < 20 and not set(digits) - set("01234567")


# PyYAML looks a resolver up by the first character, and for an empty value, which is null, under "".
for _name, (_pattern, _first) in PLAIN.items():
    Loader.add_implicit_resolver(f"{TAG}{_name}", re.compile(f"(?:{_pattern})$"), [*_first] + [""] * (_name == "null"))
Loader.add_constructor(f"{TAG}int", Loader.whole)
Loader.add_constructor(f"{TAG}float", Loader.decimal)
Loader.add_constructor(f"{TAG}bool", Loader.truth)
Loader.add_constructor(None, Loader.refused)


def load_document(text: str) -> Any:
    """Value of the one document in `text`.

    Raises:
        yaml.YAMLError: `problem_of` explains it.
    """
    loader = Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def problem_of(error: yaml.YAMLError) -> tuple[int | None, str]:
    """Line (from 1), and the reason after a colon, or after `is not YAML:` if the text cannot be read at all."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return None, f" is not YAML: {_brief(str(error).splitlines()[0])}"
    mark = error.problem_mark or error.context_mark
    reason = _brief("; ".join(part for part in (error.context, error.problem) if part))
    verb = ":" if isinstance(error, ConstructorError) else " is not YAML:"
    return (mark.line + 1 if mark else None), f"{verb} {reason}"


def _brief(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:200]} ... {text[-60:]}"
