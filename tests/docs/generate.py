"""Make what is made of the code again, `python -m tests.docs.generate`: the roles' argument specs and defaults, the
modules' options, the tables of docs/ and docs/schema/."""

import sys

from bench.commands.schema import write_schemas
from tests.docs import settings
from tests.docs.tables import DOCS, TABLES, filled


def main() -> int:
    """Write what changed and say it."""
    for name in settings.write():  # first: tables are made of the argument specs
        print(name)
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
