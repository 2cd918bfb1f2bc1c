"""A table of what `make arm64` wrote, for docs/aarch64.md: `python -m tests.hosts.arm64_table DIR`."""

import json
import sys
from pathlib import Path
from typing import Any

NAMED = (
    "torch",
    "triton",
    "onnxruntime",
    "transformers",
    "f5-tts",
    "chatterbox-tts",
    "qwen-tts",
    "hibari-tts",
    "numpy",
)
"""Packages whose versions tell most."""


def main(folder: Path) -> None:
    """Print a row for each thing that was proved or failed, the last attempt of each."""
    attempts = [json.loads(line) for line in (folder / "arm64.jsonl").read_text("utf-8").splitlines()]
    last = {attempt["what"]: attempt for attempt in attempts}
    print("| what | ended | packages | of them | GB | seconds of each step |\n|---|---|---|---|---|---|")
    for what, attempt in last.items():
        path = folder / f"{what}.json"
        print(_row(what, attempt, json.loads(path.read_text("utf-8")) if path.exists() else {}))


def _row(what: str, attempt: dict[str, Any], facts: dict[str, Any]) -> str:
    versions = {
        package["name"].lower().replace("_", "-"): package["version"] for package in facts.get("packages", [])
    }
    named = ", ".join(f"{name} {versions[name]}" for name in NAMED if name in versions)
    steps = {**facts.get("host", {}).get("s", {}), **facts.get("s", {})} or {"all": attempt["s"]}
    cells = [
        what,
        "well" if attempt["ok"] else "FAILED",
        str(len(versions)) if versions else f"{facts['modules']} modules" if "modules" in facts else "",
        named,
        f"{facts['bytes'] / 1e9:.1f}" if "bytes" in facts else "",
        ", ".join(f"{name} {seconds:.0f}" for name, seconds in steps.items()),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
