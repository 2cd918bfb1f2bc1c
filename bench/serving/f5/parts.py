"""Which kernels run here: each is held to plain.py on this device once, before anything is captured.

A kernel that cannot be had (no Triton, no C compiler for its launcher, no GPU), does not compile or does not agree
gives way to plain torch, alone. Speech is the same either way but for rounding, so this is no setting of a profile.
"""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    chosen: dict[str, Any] = {}
    said: dict[str, str] = {}
    _keep_what_is_compiled()
    try:
        from bench.serving.f5 import kernels

        wanted: Any = kernels
    except Exception as error:  # noqa: BLE001 - whatever stands in Triton's way
        wanted = _Missing(error)
    for name, arguments in _trials(sizes):
        given, label = (_gelu_in_cublas, "cublas") if name == "raise_with_gelu" else (None, "triton")
        ours = getattr(plain, name)
        try:
            kernel = given or getattr(wanted, name)
            apart = _difference(_outcome(kernel, arguments), _outcome(ours, arguments))
            if not apart <= MOST_APART:
                raise ArithmeticError(f"{apart:.1e} apart from plain torch")
            chosen[name], said[name] = kernel, label
        except Exception as error:  # noqa: BLE001 - compilers raise what they like
            chosen[name], said[name] = ours, f"plain: {type(error).__name__}: {error}"[:200]
    return Parts(**chosen, said=said)


def _keep_what_is_compiled() -> None:
    """Have Triton keep it beside the engine's packages, where there is a venv that can be written: it goes with them.

    In a container of ours the image says where (a volume of its own).
    """
    if sys.prefix != sys.base_prefix and os.access(sys.prefix, os.W_OK):
        os.environ.setdefault("TRITON_CACHE_DIR", str(Path(sys.prefix) / "triton-cache"))


class _Missing:
    def __init__(self, why: Exception) -> None:
        self._why = why

    def __getattr__(self, name: str) -> Any:
        raise self._why


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


def _difference(ones: list[Any], others: list[Any]) -> float:
    return max(float((one - other).norm() / other.norm()) for one, other in zip(ones, others, strict=True))
