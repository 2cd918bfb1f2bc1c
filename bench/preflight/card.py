"""The model's card at the pinned revision, read before anything large is fetched.

A catalog entry may be out of date: a card that says that the clone encoder is withheld overrules it. The card is
kept in the store of weights, so that it is asked for once and a host without network can bring it along.
"""

from pathlib import Path
from typing import Any

from bench.catalog.entry import Entry, WeightFile
from bench.errors import AuditionError
from bench.inputs.gates import clone_gate
from bench.records.run import Check
from bench.weights.store import ensure, list_missing, path_of

MODEL_CARD = "model_card"
_CARD = "README.md"


def check_card(
    entry: Entry, store: Path, *, endpoint: str | None, token_file: Path | None, looking: bool = False
) -> list[Check]:
    """Return the check that the card was read and, where it was, the clone gate as the card leaves it.

    Nothing is asked for an entry without weights. A card that cannot be had is a warning: the entry's own word
    stands. `looking`: check mode, in which a card that is not in the store is not fetched.
    """
    if not entry.weights or entry.weights[0].revision is None:
        return []
    first = entry.weights[0]
    card = WeightFile(repo=first.repo, revision=first.commit, path=_CARD)
    value: dict[str, Any] = {"repo": card.repo, "revision": card.commit, "sha256": None}
    if looking and list_missing([card], store):
        return [Check(name=MODEL_CARD, ok=None, value=value, detail="not fetched in check mode")]
    try:
        report = ensure([card], store, endpoint=endpoint, token_file=token_file)
        text = path_of(store, card).read_text(encoding="utf-8", errors="replace")
    except (AuditionError, OSError) as error:
        detail = f"the model card was not read, so the catalog's word on the clone encoder stands: {error}"
        return [Check(name=MODEL_CARD, ok=None, value=value, detail=detail, severity="warning")]
    read = Check(name=MODEL_CARD, ok=True, value=value | {"sha256": report.files[0].sha256})
    return [read, clone_gate(entry, text)]
