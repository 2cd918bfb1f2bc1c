"""Which kernels a token's step runs on: each is held to plain.py on this device once, before anything is captured
(trials.py)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench.serving import trials
from bench.serving.chatterbox import plain
from bench.serving.chatterbox.package import torch

MOST_APART = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}
"""Relative difference of a kernel from plain torch: several times what the width's rounding makes of it."""
_PLACES, _PLACE = 700, 600
"""Of a trial's cache: more than two tiles of the kernel, and a last one that is not full."""
_ROWS = 2


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a kernel is compiled for."""

    channels: int
    up: int
    """Channels between the two products of a feed-forward block."""
    heads: int
    head_channels: int
    eps: float
    dtype: Any
    device: Any


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a step, each a kernel or plain torch; plain.py says what they compute."""

    project: Callable[..., Any]
    gate: Callable[..., Any]
    add_product: Callable[..., Any]
    attend: Callable[..., Any]
    said: dict[str, str]
    """By part, `triton`, or `plain: ` and why."""


@torch.inference_mode()  # type: ignore[untyped-decorator]
def choose(sizes: Sizes) -> Parts:
    """Return the fastest of each part that is right on this device."""
    trials.keep_compiled()
    chosen, said = trials.choose(_trials(sizes), _find, plain, _outcome, MOST_APART[sizes.dtype])
    return Parts(**chosen, said=said)


def _find(name: str) -> tuple[trials.Part, str]:
    from bench.serving.chatterbox import kernels

    return getattr(kernels, name), "triton"


def _trials(sizes: Sizes) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield each part's name and arguments to try it with, random as speech is."""
    source = torch.Generator(sizes.device).manual_seed(0)

    def draw(*shape: int, scale: float = 1.0) -> Any:
        drawn = torch.randn(shape, generator=source, device=sizes.device, dtype=torch.float32)
        return (drawn * scale).to(sizes.dtype)

    d, channels = sizes.head_channels, sizes.channels
    said = 3 * sizes.heads * d
    x, norm = draw(_ROWS, channels), draw(channels)
    angles = torch.arange(_PLACES, device=sizes.device)[:, None] * torch.logspace(
        0, -4, d // 2, device=sizes.device
    )
    cos, sin = angles.cos(), angles.sin()
    turn = torch.cat((cos, cos), dim=-1).to(sizes.dtype), torch.cat((-sin, sin), dim=-1).to(sizes.dtype)
    fan_in = channels**-0.5
    yield "project", (x, norm, draw(said, channels, scale=fan_in), sizes.eps)
    yield "gate", (x, norm, draw(2 * sizes.up, channels, scale=fan_in), sizes.eps)
    yield "add_product", (x, draw(_ROWS, sizes.up), draw(channels, sizes.up, scale=sizes.up**-0.5))
    place = torch.tensor([_PLACE], device=sizes.device)
    yield "attend", (draw(_ROWS, said), *turn, draw(_ROWS, sizes.heads, _PLACES, 2, d), place)


def _outcome(part: Callable[..., Any], arguments: tuple[Any, ...]) -> list[Any]:
    """Return what the part returns and what it left in its arguments."""
    fresh = [each.clone() if isinstance(each, torch.Tensor) else each for each in arguments]
    return [part(*fresh).float(), *(each.float() for each in fresh if isinstance(each, torch.Tensor))]
