"""Candidates side by side: their pairs sealed for one sitting, and what came of all of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.controller import conclude
from bench.controller.run import Run, explain_full_disk
from bench.errors import BadInput
from bench.listening.score import TakesMissing, measure_alike
from bench.listening.seal_sitting import PAIRS_BESIDE, seal_sitting
from bench.listening.sitting import read_seal
from bench.records.run import Manifest
from bench.records.survey import Surveyed
from bench.verdict.power import POWER_SDS, pass_probability


def seal_together(runs: Sequence[Run]) -> list[str]:
    """Seal the pairs of all runs for one sitting, and pairs of two candidates; return what to say of it.

    A run whose candidate cannot be rated stays out; where one alone is left, it is sealed by itself. What is sealed
    stays as it is.

    Raises:
        BadInput: a baseline has to speak again, or people have rated one of the runs already.
        CuesRemain, NotAligned, UnusableTake: as `bench.listening.score.seal`.
    """
    left = [run for run in runs if run.undecided() and run.todo("score") is None]
    if all(read_seal(run.path) is not None for run in left):
        return []
    said: list[str] = []
    rated = [run for run in left if _can_be_rated(run, said)]
    if len(rated) < 2:
        return said + [f"{run.run_id}: {conclude.score_run(run, alone=True)['msg']}" for run in rated]
    with explain_full_disk(rated[0].path):
        sealed = seal_sitting([run.path for run in rated])
    for run in rated:
        conclude.score_run(run)
    pairs = sum(run.manifest().rule.pairs for run in rated)
    return [
        *said,
        f"{', '.join(run.manifest().model for run in rated)} are sealed for one sitting: {pairs} pairs with the "
        f"baseline, {PAIRS_BESIDE * len(sealed.beside)} of two candidates, and the controls.",
    ]


def _can_be_rated(run: Run, said: list[str]) -> bool:
    """Whether both sides have enough takes; where the candidate has not, that is recorded and said.

    Raises:
        BadInput: the baseline has not.
    """
    try:
        measure_alike([run.path], channels=())
    except TakesMissing as error:
        said.append(f"{run.run_id}: {conclude.score_run(run, alone=True)['msg']}")
        if error.side == "baseline":
            raise BadInput(f"{error} Run `audition survey` again: it makes them, and goes on.") from error
        return False
    return True


def judge_together(manifest: Manifest, models: Sequence[Surveyed]) -> dict[str, Any]:
    """Return what a survey's record says of candidates that were rated in one sitting."""
    asked = max(
        [manifest.rule.minimum_raters]
        + [each.ratings // manifest.rule.pairs for each in models if each.ratings is not None]
    )
    found: dict[str, Any] = {
        "together": True,
        "false_pass_at_most": _bound_false_pass(manifest, len(_in_sitting(models)), asked),
    }
    if any(each.reason is None for each in models):
        return found
    passed = [each for each in models if each.decision == "swap_candidate"]
    found["passed"] = [each.model for each in passed]
    if passed and manifest.inputs.choice == "highest_mean":
        found["chosen"] = max(passed, key=lambda each: each.difference or 0.0).model
    return found


def _in_sitting(models: Sequence[Surveyed]) -> list[Surveyed]:
    """Return those that are rated or may still be: what was refused or could not be installed cannot pass."""
    return [each for each in models if each.reason is None or each.ratings]


def label_together(baseline: str, found: Mapping[str, Any]) -> str | None:
    """Return the label of a survey in which candidates pass; None where none does."""
    taken = [found["chosen"]] if "chosen" in found else found.get("passed", [])
    return f"swap_{baseline}_for_{'_or_'.join(taken)}" if taken else None


def _bound_false_pass(manifest: Manifest, candidates: int, raters: int) -> float:
    """Return Boole's bound, which holds however the candidates' ratings hang together."""
    one = max(
        pass_probability(
            gap=0.0,
            sd=sd,
            pairs=manifest.rule.pairs,
            raters=raters,
            margin_tenths=manifest.rule.rating_margin_tenths,
        )
        for sd in POWER_SDS
    )
    return round(min(1.0, candidates * one), 4)


def sum_up_together(manifest: Manifest, models: Sequence[Surveyed], found: Mapping[str, Any]) -> str:
    """Say what came of all candidates."""
    baseline = manifest.inputs.baseline
    rated = [each.model for each in _in_sitting(models)]
    chance = (
        f"Even if {baseline} were as good as each of {', '.join(rated)}, the chance that at least one of them passes "
        f"the rating gate would be {100 * found['false_pass_at_most']:.1f}% at most."
        if rated
        else "No candidate came to be rated."
    )
    if "passed" not in found:
        waiting = [each.model for each in models if each.reason is None]
        return f"Not decided yet: {', '.join(waiting)}. {chance}"
    passed = found["passed"]
    own = " ".join(str(each.sentence) for each in models)
    if not passed:
        return f"Keep {baseline}: none of {', '.join(each.model for each in models)} passes. {own} {chance}"
    if "chosen" in found:
        head = f"Swap {baseline} for {found['chosen']}: its mean is the highest of {', '.join(passed)}"
    elif len(passed) == 1:
        head = f"Swap {baseline} for {passed[0]}: it alone passes"
    else:
        head = (
            f"Each of {', '.join(passed)} may take {baseline}'s place: no choice was committed to beforehand"
        )
    return f"{head}. {own} {chance}"
