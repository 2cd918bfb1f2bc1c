"""How long a take is against the other side's take of the same text."""


def duration_ratio(candidate_s: float | None, baseline_s: float | None) -> float | None:
    """Return candidate over baseline, both from first sound to last, in seconds; None where either is None.

    Source: definition.
    Known failure: a slow but good delivery and one that repeats words look alike; read it with the word error
    rate.
    """
    return candidate_s / baseline_s if candidate_s is not None and baseline_s else None
