"""Which kernels a step runs on: each is held to plain.py on this device once, before anything is captured
(trials.py)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench.serving import trials
from bench.serving.f5 import plain
from bench.serving.f5.package import torch

MOST_APART = 2e-3
"""Relative difference of a kernel from plain torch: several times what float16's rounding makes of it."""
_FRAMES, _MEANT = 256, 200
"""Of a trial: more than one tile, and a last one that is not full."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a kernel is compiled for."""

    heads: int
    head_channels: int
    up: int
    """Channels between the two products of a feed-forward block."""
    groups: int
    """Of the convolutions that place frames."""
    taps: int
    dtype: Any
    device: Any


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a step, each a kernel or plain torch; plain.py says what they compute."""

    add_and_norm: Callable[..., Any]
    turn_keys: Callable[..., Any]
    attend: Callable[..., Any]
    convolve: Callable[..., Any]
    raise_with_gelu: Callable[..., Any]
    said: dict[str, str]
    """By part, `triton` or `cublas`, or `plain: ` and why."""


@torch.inference_mode()  # type: ignore[untyped-decorator]
def choose(sizes: Sizes) -> Parts:
    """Return the fastest of each part that is right on this device."""
    trials.keep_compiled()
    chosen, said = trials.choose(_trials(sizes), _find, plain, _outcome, MOST_APART)
    return Parts(**chosen, said=said)


def _find(name: str) -> tuple[trials.Part, str]:
    if name == "raise_with_gelu":
        return _gelu_in_cublas, "cublas"
    from bench.serving.f5 import kernels

    return getattr(kernels, name), "triton"


def _gelu_in_cublas(x: Any, weight: Any, bias: Any) -> Any:
    """As `plain.raise_with_gelu`, the GELU done where the product leaves it. Elsewhere torch takes another GELU."""
    if not x.is_cuda:
        raise NotImplementedError("torch does this on CUDA alone")
    raised = torch._addmm_activation(bias, x.flatten(0, 1), weight.T, use_gelu=True)
    return raised.unflatten(0, x.shape[:2])


def _trials(sizes: Sizes) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield each part's name and arguments to try it with, random as speech is."""
    source = torch.Generator(sizes.device).manual_seed(0)

    def draw(*shape: int, scale: float = 1.0) -> Any:
        drawn = torch.randn(shape, generator=source, device=sizes.device, dtype=torch.float32)
        return (drawn * scale).to(sizes.dtype)

    channels = sizes.heads * sizes.head_channels
    width = channels // sizes.groups
    x, y = draw(2, _FRAMES, channels), draw(2, _FRAMES, channels)
    gate, scale, shift = draw(3, channels)
    angles = torch.arange(_FRAMES, device=sizes.device)[:, None] * torch.logspace(
        0, -4, sizes.head_channels // 2, device=sizes.device
    )
    cos, sin = angles.cos(), angles.sin()
    qkv = draw(2, _FRAMES, 3, sizes.heads, sizes.head_channels)
    meant = torch.tensor([_MEANT], device=sizes.device, dtype=torch.int32)
    weight = draw(sizes.groups, sizes.taps, width, width, scale=(sizes.taps * width) ** -0.5)
    yield "add_and_norm", (x, y, gate, scale, shift)
    yield "turn_keys", (qkv, cos, sin)
    yield "attend", (qkv, cos, sin, meant)
    yield "convolve", (x, weight, gate, meant, x)
    yield "raise_with_gelu", (x, draw(sizes.up, channels, scale=channels**-0.5), draw(sizes.up))


def _outcome(part: Callable[..., Any], arguments: tuple[Any, ...]) -> list[Any]:
    """Return what the part returns and what it left in its first argument, of the frames that are meant."""
    fresh = (arguments[0].clone(), *arguments[1:])
    returned = part(*fresh)
    return [each[:, :_MEANT].float() for each in (returned, fresh[0]) if each is not None]
