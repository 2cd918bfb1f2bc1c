"""What each file of a run is a record of, and JSON Schema of those that others read.

`python -m bench.commands.schema docs/schema` writes the schemas. They describe what Audition writes, so every key is
required, null among its types where a figure may be missing.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from bench.errors import AuditionError
from bench.records.base import SCHEMA_VERSION
from bench.records.listening import Export, Mark, Sealed, SealReport, Unusable
from bench.records.memory import MemoryReport
from bench.records.metrics import MetricsFile, TakeMetrics
from bench.records.neighbour import NeighbourRecord
from bench.records.passes import PassFile
from bench.records.run import BaselineInstall, Install, Manifest, Phases, Preflight
from bench.records.sitting import SittingSeal
from bench.records.survey import Survey
from bench.records.take import Take
from bench.records.verdict import Verdict
from bench.report.view import ReportView
from bench.storage.atomic import write_atomically

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, slots=True)
class Described:
    """The files of one kind: the model they are records of, and the name of its schema in docs/schema, if any."""

    files: str
    model: type[BaseModel]
    schema: str | None = None


FILES: tuple[Described, ...] = (
    Described("manifest.json", Manifest, "manifest"),
    Described("preflight.json", Preflight),
    Described("install.json", Install),
    Described("install-baseline.json", BaselineInstall),
    Described("phases.json", Phases),
    Described("neighbour.json", NeighbourRecord),
    Described("memory.json", MemoryReport),
    Described("<pass>/pass.json", PassFile),
    Described("a line of <pass>/takes.jsonl", Take, "take"),
    Described("a line of <pass>/metrics.jsonl", TakeMetrics),
    Described("metrics.json", MetricsFile),
    Described("listening/seal.json", SealReport),
    Described("listening/sealed.json", Sealed),
    Described("listening/sitting.json", SittingSeal),
    Described("listening/finished/<rater>.json", Mark),
    Described("each of listening/unusable.json", Unusable),
    Described("what `audition ratings export RUN FILE.json` writes", Export),
    Described("verdict.json", Verdict, "verdict"),
    Described("report.json", ReportView, "report"),
    Described("surveys/<host>-<UTC>/survey.json", Survey, "survey"),
)
"""Every kind of record that a run leaves."""


class _Written(GenerateJsonSchema):
    """What is written has every key but those left out where they are empty: defaults say nothing to a reader, nor do
    titles made from names."""

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        """Return True, but for a field that is not always written."""
        del total
        return "serialization_exclude_if" not in field

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return False."""
        del schema
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        """Return the schema of the value alone."""
        return self.generate_inner(schema["schema"])


def make_schema(described: Described) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of one record as Audition writes it."""
    made = described.model.model_json_schema(mode="serialization", schema_generator=_Written)
    if "schema_version" in made["properties"]:
        made["properties"]["schema_version"] = {"const": SCHEMA_VERSION}
    return {"$schema": DIALECT, "title": described.files, **{k: v for k, v in made.items() if k != "title"}}


def write_schemas(folder: Path) -> list[Path]:
    """Write the schemas into `folder`, `<name>.json` each, and return the paths.

    Raises:
        OSError: the folder cannot be written.
    """
    paths = []
    for each in FILES:
        if each.schema is None:
            continue
        path = folder / f"{each.schema}.json"
        write_atomically(path, json.dumps(make_schema(each), indent=2, ensure_ascii=False).encode() + b"\n")
        paths.append(path)
    return paths


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
