"""One line of the benchmark's table, and the table."""

from typing import Any

Row = dict[str, Any]
"""`area`, `name`, `value`, `unit`, `limit`, `ok`, and what else is worth keeping. A null value has a `reason`."""


def row(
    area: str,
    name: str,
    value: float | None,
    unit: str,
    limit: float | None = None,
    *,
    failed: int = 0,
    **more: Any,
) -> Row:
    """Return one line. `ok` is null where there is no target; a figure that lost takes on its way is not ok."""
    ok = None if limit is None else value is not None and value <= limit
    made = {"area": area, "name": name, "value": value, "unit": unit, "limit": limit}
    return {**made, "ok": False if failed else ok, "failed": failed, **more}


def null(area: str, name: str, unit: str, reason: str) -> Row:
    """Return the line of a figure that cannot be had here, which is no missed target."""
    return {**row(area, name, None, unit), "reason": reason}


def table(rows: list[Row]) -> str:
    """Return the rows as text, one line each."""
    width = max((len(each["name"]) for each in rows), default=0)
    lines = []
    for each in rows:
        value = "null" if each["value"] is None else f"{each['value']:.3f}"
        limit = "" if each["limit"] is None else f"limit {each['limit']:g} "
        mark = {None: "", True: "ok", False: "MISSED"}[each["ok"]]
        lost = f" ({each['failed']} takes failed)" if each["failed"] else ""
        why = f" {each['reason']}" if each.get("reason") else ""
        line = f"{each['area']:<8} {each['name']:<{width}} {value:>12} {each['unit']:<12} {limit}{mark}{lost}{why}"
        lines.append(line.rstrip())
    return "\n".join(lines)
