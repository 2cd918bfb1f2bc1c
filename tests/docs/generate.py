"""Make the tables of docs/ and docs/schema/ again: `python -m tests.docs.generate`."""

import sys

from bench.commands.schema import write_schemas
from tests.docs.tables import DOCS, TABLES, filled


def main() -> int:
    """Write what changed and say it."""
    for page in TABLES:
        path = DOCS / page
        text = path.read_text(encoding="utf-8")
        if (new := filled(page, text)) != text:
            path.write_text(new, encoding="utf-8")
            print(f"docs/{page}")
    write_schemas(DOCS / "schema")
    return 0


if __name__ == "__main__":
    sys.exit(main())
