"""JSON Schema of every record that a run leaves, made from the models: `python -m bench.commands.schema docs/schema`.

The schemas describe what Audition writes, so every key is required, null among its types where a figure may be
missing. A few files have no model of their own where they are written; theirs are here, and tests/docs holds
them to the bytes that the code writes.
"""

import ast
import functools
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, Field
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from bench.client.network import NetworkCost
from bench.client.takes import PassResult
from bench.client.voicecheck import VoiceCheck
from bench.errors import AuditionError
from bench.listening.mapping import Sealed
from bench.listening.results import Export
from bench.listening.score import SealReport
from bench.memory.report import MemoryReport
from bench.metrics.compare import MetricsComparison
from bench.metrics.take import TakeMetrics
from bench.neighbour.record import NeighbourRecord
from bench.records.base import SCHEMA_VERSION, Record
from bench.records.listening import Ratings
from bench.records.run import Install, Manifest, Phases, Preflight
from bench.records.take import Take
from bench.records.verdict import Verdict
from bench.report.view import ReportView
from bench.storage.atomic import write_atomically
from bench.verdict.takes import Unusable

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class MemoryFile(MemoryReport):
    """`memory.json`: the memory report of the benchmark."""

    schema_version: int = SCHEMA_VERSION


class MetricsFile(Record):
    """`metrics.json`: the acoustic metrics of both sides, and their comparison."""

    schema_version: int = SCHEMA_VERSION
    candidate: list[TakeMetrics]
    baseline: list[TakeMetrics]
    comparison: MetricsComparison


class PassFile(Record):
    """`pass.json`, beside the takes of one pass: how it was made."""

    schema_version: int = SCHEMA_VERSION
    result: PassResult | None = Field(alias="pass")
    health: dict[str, Any]
    """What the engine's `/health` said after the pass; where that was cut off, when it was ready. Empty for a
    server that we did not start."""
    fp32_retries: dict[str, int] | None
    """Chunks that the engine solved again in float32, by the utterance of a timed take; null for an engine that
    does not count them."""
    engine_start_s: float | None
    """From the start of the engine until it was ready; null for a server that we did not start."""
    reference_f0_hz: float | None
    """Median pitch of the reference that raters hear, the same for both sides; null where none of it is voiced."""
    network: NetworkCost | None
    """What connecting and one round trip to the server cost, from where it was measured."""
    voice_check: VoiceCheck | None
    """Whether a server that we did not start speaks in the voice asked for; null for an engine of ours."""


@dataclass(frozen=True, slots=True)
class Published:
    """One schema: its name in docs/schema, the files it describes, the model it is made from."""

    name: str
    files: str
    model: type[BaseModel]


PUBLISHED: tuple[Published, ...] = (
    Published("manifest", "manifest.json", Manifest),
    Published("preflight", "preflight.json", Preflight),
    Published("install", "install.json", Install),
    Published("phases", "phases.json", Phases),
    Published("neighbour", "neighbour.json", NeighbourRecord),
    Published("memory", "memory.json", MemoryFile),
    Published("pass", "<pass>/pass.json", PassFile),
    Published("take", "a line of <pass>/takes.jsonl", Take),
    Published("take-metrics", "a line of <pass>/metrics.jsonl", TakeMetrics),
    Published("metrics", "metrics.json", MetricsFile),
    Published("seal", "listening/seal.json", SealReport),
    Published("sealed", "listening/sealed.json", Sealed),
    Published(
        "ratings", "`ratings` of an export: all that the verdict is given of the listening test", Ratings
    ),
    Published("ratings-export", "what `export_json` of bench.listening.results writes", Export),
    Published("verdict", "verdict.json", Verdict),
    Published("report", "report.json", ReportView),
    Published("unusable", "each of listening/unusable.json", Unusable),
)


class _Written(GenerateJsonSchema):
    """What is written has every key: defaults say nothing to a reader, nor do titles made from names."""

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        """Return True."""
        del field, total
        return True

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return False."""
        del schema
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        """Return the schema of the value alone."""
        return self.generate_inner(schema["schema"])


def schema_of(published: Published) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of one record as Audition writes it."""
    model = published.model
    made = model.model_json_schema(mode="serialization", schema_generator=_Written)
    by_name = {found.__name__: found for found in _models(model)}
    for name, part in [(model.__name__, made), *made.get("$defs", {}).items()]:
        docs = attribute_docs(by_name[name]) if name in by_name else {}
        for key, body in part.get("properties", {}).items():
            if key in docs:
                body["description"] = docs[key]
    if "schema_version" in made["properties"]:
        made["properties"]["schema_version"] = {"const": SCHEMA_VERSION}
    return {"$schema": DIALECT, "title": published.files, **{k: v for k, v in made.items() if k != "title"}}


def write_schemas(folder: Path) -> list[Path]:
    """Write every schema into `folder`, `<name>.json` each, and return the paths.

    Raises:
        OSError: the folder cannot be written.
    """
    paths = []
    for published in PUBLISHED:
        path = folder / f"{published.name}.json"
        write_atomically(
            path, json.dumps(schema_of(published), indent=2, ensure_ascii=False).encode() + b"\n"
        )
        paths.append(path)
    return paths


@functools.cache
def attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """Return the string that stands under each field in the source of `model` and of what it inherits."""
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if not issubclass(owner, Record):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, after in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            ):
                known = owner.model_fields.get(field.target.id)
                name = known.alias if known is not None and known.alias else field.target.id
                found[name] = " ".join(after.value.value.split())
    return found


def _models(model: type[BaseModel], seen: set[type[BaseModel]] | None = None) -> Iterator[type[BaseModel]]:
    """Yield `model` and every model that its fields hold, each once."""
    seen = set() if seen is None else seen
    if model in seen:
        return
    seen.add(model)
    yield model
    for field in model.model_fields.values():
        for part in _parts(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _models(part, seen)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in get_args(annotation):
        yield from _parts(inner)


def main(arguments: list[str]) -> int:
    """Write the schemas into the folder that is named; returns the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m bench.commands.schema FOLDER (docs/schema in the checkout)\n")
        return 2
    try:
        for path in write_schemas(Path(arguments[0])):
            sys.stdout.write(f"{path}\n")
    except (AuditionError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
