"""The receipts a host keeps: the record of what was installed and proved, by the hash of all that it proves.

Read without the record's own class: it is looked at in every play, and pydantic takes longer to start than that.
"""

import json
from pathlib import Path
from typing import Any


def name_receipt(state_dir: Path, model: str, profile: str) -> Path:
    """Return where the receipt of a model in a profile is kept."""
    return state_dir / "receipts" / f"{model}-{profile}.json"


def find_kept(state_dir: Path, model: str, profile: str, receipt: str) -> dict[str, Any] | None:
    """Return the `Install` record that `receipt` names, as JSON values, if this host has proved it before."""
    try:
        found = json.loads(name_receipt(state_dir, model, profile).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    proved = isinstance(found, dict) and found.get("ok") is True and found.get("receipt") == receipt
    return found if proved else None
