"""The two gates that need no download: may the model be used so, and can it clone at all.

Pure functions of the catalog entry and what the user intends.
"""

import re

from bench.catalog.entry import Entry, Licence
from bench.records.base import IntendedUse
from bench.records.run import Check
from bench.text.outside import clean

LICENCE = "licence"
CLONE_ENCODER = "clone_encoder"

_ENCODER = (
    r"(?:(?:clon(?:e|ing)|audio|speech|speaker|voice|codec|reference|autoencoder|tokeni[sz]er)[\w' -]{0,20}\bencoder"
    r"|(?<!text )\bencoder(?:'s)? weights)"
)
_GIVEN = (
    r"(?:released|published|available|included|provided|shipped|open(?:ed|-sourced?)?|distributed|public|supported"
    r"|part of)"
)
_KEPT = (
    r"(?:(?:not|never|no longer|n't)(?: (?:yet|currently|be|been|being|publicly|openly|made|going|to))*"
    rf" {_GIVEN}\b|withheld|(?:held|kept) back|gated(?! (?:by|with|through|\w+s)\b)|unavailable)"
)
_IS = r"(?:is|are|was|were|has|have|will|wo|remains?|stays?)"
_WITHHELD = re.compile(
    # The encoder is not published: of the encoder, or by whoever keeps it.
    rf"{_ENCODER}[^.,;:]{{0,40}}?\b{_IS} ?(?:been |being )?{_KEPT}"
    r"|(?:(?:not|never|no longer|n't) (?:release|publish|include|provide|ship|open|open-source|distribute|contain)"
    r"|withh(?:e|o)ld(?:s|ing)?|lacks?|omits?|excludes?|without (?:the|its)) "
    rf"(?:(?!code\b|data\b|scripts?\b|training\b|separate\b|dedicated\b)[\w'-]+ ){{0,5}}?{_ENCODER}"
    # There is no cloning: said of it as such, not of what one may do with it, or do without.
    rf"|voice[- ]cloning (?:\w+ )?{_IS} ?(?:been |being )?{_KEPT}"
    r"|(?:not|n't|no longer) (?:\w+ )?(?:support|include|provide|offer) (?:zero-shot )?voice[- ]cloning"
    r"(?= yet|[.;,]|$)",
    re.IGNORECASE,
)
_PERMISSION = re.compile(r"commercial|consent|permission|impersonat|parameters?\b", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n|\n(?=\s*[-*|#>])")


def licence_gate(entry: Entry, intended_use: IntendedUse) -> Check:
    """Return whether the licences of code and weights allow the intended use.

    `detail` carries the notice to print, whether the gate passes or not; it is empty where no licence asks
    for care. A licence forbids commercial use or does not: `personal` and `research` pass here, and what else
    they ask for stands in the notice.
    """
    licences = {"code": entry.licences.code}
    if entry.licences.weights is not None:
        licences["weights"] = entry.licences.weights
    refusing = {
        part: licence
        for part, licence in licences.items()
        if intended_use == "commercial" and not licence.commercial_use
    }
    verb = {"code": "is", "weights": "are"}
    sentences = [
        f"{entry.title}: the {part} {verb[part]} under {licence.spdx}, which forbids commercial use "
        f"({licence.source})."
        for part, licence in refusing.items()
    ]
    return Check(
        name=LICENCE,
        ok=not refusing,
        value=intended_use,
        limit=", ".join(f"{licence.spdx} ({part})" for part, licence in licences.items()),
        detail=" ".join([*sentences, *notices(entry)]),
        severity="gate",
    )


def notices(entry: Entry) -> list[str]:
    """Return the notices of the licences of code, weights and preset voice, each once."""
    licences: list[Licence | None] = [entry.licences.code, entry.licences.weights]
    if entry.preset is not None:
        licences.append(entry.preset.licence)
    return list(dict.fromkeys(licence.notice for licence in licences if licence and licence.notice))


def clone_gate(entry: Entry, card_text: str | None) -> Check:
    """Return whether a voice can be cloned with what is published.

    Args:
        entry: the catalog entry.
        card_text: the model card at the pinned revision, or None where it is not at hand. A sentence in it
            that says the encoder is kept back overrules an entry that says `open`, which may be out of date.

    An entry whose model makes no claim to clone (`none`: the demo's) passes with a notice in `detail`.
    """
    encoder = entry.clone_encoder
    note = f" {encoder.note}" if encoder.note else ""
    sentence = find_withheld(card_text) if card_text and encoder.status == "open" else None
    if encoder.status == "withheld":
        detail = f"{entry.title}: the clone encoder is withheld ({encoder.source}).{note}"
    elif sentence is not None:
        detail = f"{entry.title}: the model card says that the clone encoder is kept back: “{sentence}”"
    elif encoder.status == "none":
        detail = (
            f"{entry.title} does not clone and makes no claim to; its likeness to the reference decides "
            f"nothing about cloning.{note}"
        )
    else:
        detail = f"The clone encoder is open ({encoder.source}).{note}"
    return Check(
        name=CLONE_ENCODER,
        ok=encoder.status != "withheld" and sentence is None,
        value="withheld" if sentence is not None else encoder.status,
        limit="open, or none claimed",
        detail=detail,
        severity="gate",
    )


def find_withheld(card_text: str) -> str | None:
    """Return the first sentence that says the encoder is kept back, or None.

    A plain reading by patterns: the sentence must deny that the cloning or its encoder is published, and not
    speak of what one may do with it ("no voice cloning without consent"), for a card misread ends the run. A
    card that says so in other words is missed; then the engine is what refuses the reference.
    """
    for sentence in _SENTENCE.split(card_text):
        flat = " ".join(clean(sentence).split())
        if _WITHHELD.search(flat) and not _PERMISSION.search(flat):
            return flat[:300]
    return None
