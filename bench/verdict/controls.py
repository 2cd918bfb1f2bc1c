"""Which raters failed the controls. What the verdict would be without them stands beside it and decides nothing."""

from collections import defaultdict
from collections.abc import Sequence

from bench.records.listening import Answer
from bench.records.verdict import Controls

BEST_SCORE = 5


def failed_controls(answers: Sequence[Answer]) -> dict[str, list[str]]:
    """Name each rater who failed a control, with what they did.

    Two controls have a right answer: a pair of twice the same clip is scored equal, and the speaker's own recording is
    scored above the take beside it or gets the best score there is.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for answer in sorted(answers, key=lambda each: (each.rater, each.trial_id)):
        if answer.kind == "identical" and answer.candidate != answer.baseline:
            found[answer.rater].append(f"scored the same clip {answer.candidate} and {answer.baseline}")
        if answer.kind == "anchor" and answer.candidate <= min(answer.baseline, BEST_SCORE - 1):
            found[answer.rater].append(
                f"scored the speaker's own recording {answer.candidate} and the take beside it {answer.baseline}"
            )
    return dict(found)


def count_controls(answers: Sequence[Answer]) -> int:
    """Return how many answers have a right one."""
    return sum(answer.kind in ("identical", "anchor") for answer in answers)


def spell_controls(found: Controls) -> str:
    """Return the line that stands beside the verdict."""
    if not found.failed:
        return (
            f"No rater failed a control ({found.asked} were asked)."
            if found.asked
            else "No control was asked."
        )
    who = "; ".join(f"{rater} {' and '.join(what)}" for rater, what in sorted(found.failed.items()))
    left = "nothing would be left"
    if found.mean_difference is not None:
        left = f"mean difference {found.mean_difference:+.3g} over {found.n} ratings"
    return (
        f"Without {', '.join(sorted(found.failed))}, who failed the controls, the verdict would be {found.decision} "
        f"({left}): {who}."
    )
