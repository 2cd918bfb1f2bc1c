"""YAML that a user wrote, read as a record: nothing in it is guessed at, and what is wrong is named with its line.

YAML takes the last of two equal keys in silence, reads `.inf` as a number, `010` as eight and `1:30` as ninety, and a
lax record makes a number of the text "10". Each of these is refused.
"""

import difflib
import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from bench.errors import BadInput
from bench.text.yaml_nodes import walk_nodes

Model = TypeVar("Model", bound=BaseModel)

_MOST_VALUES = 100_000
"""With every alias written out: ten lines of aliases of aliases hold a hundred million."""
_MOST_SAID = 20
"""Faults in one message."""
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def parse_yaml(data: bytes, name: str, kind: type[Model], *, what: str, see: str) -> tuple[Model, "Lines"]:
    """Return the record that `data` holds, and where its keys are.

    Args:
        data: YAML (or JSON, which is YAML too), UTF-8.
        name: of the file, for messages.
        kind: the record. Its types are taken exactly: no text for a number, no number for yes or no.
        what: what such a file is called, with its article.
        see: the sentence that says where its keys are documented.

    Raises:
        BadInput: not YAML, no mapping, a key unknown, missing, given twice or of the wrong type, a number that is not
            finite or not plainly decimal; the message names file, line and key.
    """
    try:
        text = data.decode("utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        if tree is not None and _count(tree, {}) > _MOST_VALUES:
            raise ValueError(f"it holds more than {_MOST_VALUES} values, aliases written out")
        raw = yaml.safe_load(text)
    # The last two: of a tag that a value does not fit, as `!!bool maybe`.
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, AttributeError) as error:
        raise BadInput(f"{name}{_spell_damage(error)}. {see}") from error
    if not isinstance(raw, dict) or tree is None:
        raise BadInput(f"{name}: {what} is a mapping of keys. {see}")
    lines = Lines(name, tree)
    try:
        faults = [
            *(
                f"{lines.at(node)}: {node.value}: is given a second time; keep one"
                for node in _given_twice(tree)
            ),
            *(f"{lines.at(node)}: {node.value}: {why}" for node, why in _strange_numbers(tree)),
        ][:_MOST_SAID]
        if not faults:
            return kind.model_validate_json(json.dumps(raw, default=_spell_date), strict=True), lines
    except ValidationError as error:
        faults = [
            f"{lines.of(fault['loc'])}: {'.'.join(map(str, fault['loc'])) or '-'}: {fault['msg']}"
            f"{_suggest(kind, fault['loc']) if fault['type'] == 'extra_forbidden' else ''}"
            for fault in error.errors()[:_MOST_SAID]
        ]
    except (TypeError, ValueError, RecursionError) as error:  # binary data, a set, a list within itself
        faults = [f"{name}: {error}"]
    raise BadInput(f"{'; '.join(faults)}. {see}")


def _suggest(kind: type[BaseModel], location: Sequence[int | str]) -> str:
    """Return the question whether a key of the record is meant that is spelled nearly so; else nothing."""
    schema = kind.model_json_schema()
    parts = [schema, *schema.get("$defs", {}).values()]
    names = sorted({name for part in parts for name in part.get("properties", {})})
    close = difflib.get_close_matches(str(location[-1]), names, n=1, cutoff=0.7)
    return f" (did you mean {close[0]}?)" if close else ""


class Lines:
    """Where the keys of a YAML text are."""

    def __init__(self, name: str, tree: yaml.Node) -> None:
        self._name, self._tree = name, tree

    def at(self, node: yaml.Node) -> str:
        """Return `file:line` of a node."""
        return f"{self._name}:{node.start_mark.line + 1}"

    def of(self, location: Sequence[int | str]) -> str:
        """Return `file:line` of the deepest key that exists along `location`.

        pydantic puts the tag of a discriminated union into the location; a step that is no key is passed over.
        """
        node = found = self._tree
        for step in location:
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if key.value == str(step):
                        found, node = key, value
                        break
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                found = node = node.value[step]
        return self.at(found)


def _spell_damage(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f":{error.problem_mark.line + 1}: not YAML: {error.problem}"
    return f": not YAML: {error}"


def _spell_date(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a value of the kind {type(value).__name__} has no meaning here")


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values there are in a node, each alias counted as what it stands for.

    Raises:
        ValueError: it holds itself.
    """
    if (found := known.get(id(node))) is None:
        known[id(node)] = -1
        inner = node.value if isinstance(node, yaml.CollectionNode) else ()
        if isinstance(node, yaml.MappingNode):
            inner = [each for pair in inner for each in pair]
        found = known[id(node)] = 1 + sum(_count(each, known) for each in inner)
    if found < 0:
        raise ValueError("an alias stands for what it is in")
    return found


def _given_twice(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    """Yield each key that its mapping has above already: YAML would have the last one win in silence."""
    for found in walk_nodes(node):
        if isinstance(found, yaml.MappingNode):
            names = set[str]()
            for key in (key for key, _ in found.value if isinstance(key, yaml.ScalarNode)):
                if key.value in names:
                    yield key
                names.add(key.value)


def _strange_numbers(node: yaml.Node) -> Iterator[tuple[yaml.Node, str]]:
    for found in walk_nodes(node):
        if isinstance(found, yaml.ScalarNode) and found.tag in _NUMBERS:
            if not _DECIMAL.fullmatch(found.value):
                yield found, "is no finite number in decimal digits; put it so, or in quotes where it is text"
            elif not math.isfinite(float(found.value)):
                yield found, "is beyond any number that can be held"
