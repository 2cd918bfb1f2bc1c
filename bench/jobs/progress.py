"""Lines for the person who waits, in `progress.jsonl`."""

import json
from pathlib import Path

from bench.records.take import Take


class Progress:
    """Lines for the person who waits: one a take, in `progress.jsonl`."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("a", encoding="utf-8", buffering=1)
        self._model = self._name = ""
        self._total = self._count = 0

    def say(self, text: str) -> None:
        """Write one line."""
        self._stream.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")

    def begin(self, model: str, name: str, total: int) -> None:
        """Begin counting the takes of a pass."""
        self._model, self._name, self._total, self._count = model, name, total, 0

    def take(self, take: Take) -> None:
        """Write the line of a take."""
        if take.warmup:
            self.say(f"{self._model} | {self._name} | warm-up | {_figures(take)}")
            return
        self._count += 1
        self.say(
            f"{self._model} | {self._name} | {self._count}/{self._total} | {take.utterance_id} | {_figures(take)}"
        )


def _figures(take: Take) -> str:
    if take.error is not None:
        return f"failed: {take.error.kind}"
    # No length and no RTF: who is going to rate may be looking, and both sides say the same sentence.
    return "no TTFA" if take.ttfa_ms is None else f"TTFA {take.ttfa_ms:.0f} ms"
