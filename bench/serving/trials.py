"""Which of a part's ways runs here: a kernel that is right on this device, or plain torch.

A kernel that cannot be had (no Triton, no C compiler for its launcher, no GPU), does not compile or does not agree
gives way, alone. Speech is the same either way but for rounding, so this is no setting of a profile.
"""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Part = Callable[..., Any]


def choose(
    trials: Iterable[tuple[str, tuple[Any, ...]]],
    find: Callable[[str], tuple[Part, str]],
    plain: Any,
    outcome: Callable[[Part, tuple[Any, ...]], list[Any]],
    most_apart: float,
) -> tuple[dict[str, Part], dict[str, str]]:
    """Return by part what runs, and by part what is to be said of it: its kind, or `plain: ` and why.

    `trials` has each part's name and arguments to try it with; `find` returns its kernel and what kind that is;
    `plain` has the same names; `outcome` returns what a part made of its arguments, as tensors; `most_apart` is the
    largest relative difference that rounding explains.
    """
    chosen: dict[str, Part] = {}
    said: dict[str, str] = {}
    for name, arguments in trials:
        ours = getattr(plain, name)
        try:
            kernel, kind = find(name)
            apart = difference(outcome(kernel, arguments), outcome(ours, arguments))
            if not apart <= most_apart:
                raise ArithmeticError(f"{apart:.1e} apart from plain torch")
            chosen[name], said[name] = kernel, kind
        except Exception as error:  # noqa: BLE001 - compilers raise what they like
            chosen[name], said[name] = ours, f"plain: {type(error).__name__}: {error}"[:200]
    return chosen, said


def difference(ones: list[Any], others: list[Any]) -> float:
    """Return the largest relative difference of two lists of tensors."""
    return max(float((one - other).norm() / other.norm()) for one, other in zip(ones, others, strict=True))


def keep_compiled() -> None:
    """Have Triton keep what it compiles beside the engine's packages, in a venv that can be written: it goes with them.

    In a container of ours the image says where (a volume of its own).
    """
    if sys.prefix != sys.base_prefix and os.access(sys.prefix, os.W_OK):
        os.environ.setdefault("TRITON_CACHE_DIR", str(Path(sys.prefix) / "triton-cache"))
