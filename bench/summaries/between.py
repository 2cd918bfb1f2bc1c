"""Whether one model is faster than another, by several runs of each. Pure.

The takes of one run share what the machine did meanwhile, so their spread says nothing of the next run: a model was
"4.56 times faster" than itself on a busy host. Runs are the units here. Their medians are taken to scatter by factors,
by the same on both sides (log-normal, pooled variance), and the interval of the ratio is Student's t.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times the first's figure is the other's."""

    value: float
    low: float
    """Lower end of the 95% interval."""
    high: float

    @property
    def differs(self) -> bool:
        """Return whether the interval leaves out 1: the two are not alike."""
        return self.low > 1.0 or self.high < 1.0


def compare_runs(first: Sequence[float], other: Sequence[float]) -> Ratio | None:
    """Return the ratio of two models' medians, one value a run; None where either has fewer than two runs.

    Values are positive. With two runs each, only a factor well beyond the scatter of the runs is told from none.
    """
    if min(len(first), len(other)) < 2:
        return None
    from scipy.stats import t  # a second to load, and few ask

    ours, theirs = [math.log(each) for each in first], [math.log(each) for each in other]
    freedom = len(ours) + len(theirs) - 2
    variance = (_squares(ours) + _squares(theirs)) / freedom
    reach = float(t.ppf(0.975, freedom)) * math.sqrt(variance * (1 / len(ours) + 1 / len(theirs)))
    ratio = sum(ours) / len(ours) - sum(theirs) / len(theirs)
    return Ratio(math.exp(ratio), math.exp(ratio - reach), math.exp(ratio + reach))


def _squares(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values)
