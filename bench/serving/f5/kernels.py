"""The parts of a guided step that torch does in several kernels or wider than needed, each as one Triton kernel.

Names for shapes: 2 halves (with guidance and without) of n frames, D = heads x d channels, F16 for two bytes. n is a
whole bucket; how many of the frames are meant is a number on the device, so that one CUDA graph serves every length in
a bucket. What a kernel leaves in frames beyond it is never read by another frame. Tensors are contiguous; heads and d
are powers of two. plain.py has the same arithmetic in torch and the same signatures.

Nothing here is of one GPU alone: no tensor memory access by name, no instruction by name. `TRITON_INTERPRET=1` before
the first import runs all of it on a CPU. The bytes are what crosses the memory of the device where no cache helps.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from triton.language import constexpr, tensor

_LOG2_E = 1.4426950408889634
_QUERIES, _KEYS, _STAGES = 64, 64, 3
"""Tiles of attention, one size for all lengths. On an H100 the best of twelve for 640 frames, and within 2.3% of the
best for 896 and 1280: tiles of 128 queries leave too many of its processors without one."""
_PLACED = 128
"""Frames a tile of the convolutions."""


@triton.jit  # type: ignore[untyped-decorator]
def _add_and_norm(
    x_at: tensor, y_at: tensor, gate_at: tensor, scale_at: tensor, shift_at: tensor, out_at: tensor,
    channels: constexpr, width: constexpr, eps: constexpr, adds: constexpr,
) -> None:  # fmt: skip
    """One program a frame."""
    row = tl.program_id(0).to(tl.int64) * channels
    c = tl.arange(0, width)
    inside = c < channels
    x = tl.load(x_at + row + c, mask=inside, other=0.0).to(tl.float32)
    if adds:
        gate = tl.load(gate_at + c, mask=inside, other=0.0).to(tl.float32)
        x += gate * tl.load(y_at + row + c, mask=inside, other=0.0).to(tl.float32)
        rounded = x.to(x_at.dtype.element_ty)
        tl.store(x_at + row + c, rounded, mask=inside)
        x = rounded.to(tl.float32)
    mean = tl.sum(x, 0) / channels
    apart = tl.where(inside, x - mean, 0.0)
    normed = apart / tl.sqrt(tl.sum(apart * apart, 0) / channels + eps)
    scale = 1 + tl.load(scale_at + c, mask=inside, other=0.0).to(tl.float32)
    shift = tl.load(shift_at + c, mask=inside, other=0.0).to(tl.float32)
    tl.store(out_at + row + c, (normed * scale + shift).to(out_at.dtype.element_ty), mask=inside)


def add_and_norm(x: Any, y: Any | None, gate: Any | None, scale: Any, shift: Any) -> Any:
    """Return layer norm (no affine part) of x, times 1 + scale, plus shift; where y is given, x += gate * y first.

    x, y and the result are (2, n, D), the others (D,) and each a contiguous row. x is changed in place. Without y
    2 x 2nD F16 move, with it 4 x 2nD.
    """
    out = torch.empty_like(x)
    channels = x.shape[-1]
    _add_and_norm[(x.numel() // channels,)](
        x, x if y is None else y, scale if gate is None else gate, scale, shift, out,
        channels, triton.next_power_of_2(channels), 1e-6, y is not None, num_warps=4,
    )  # fmt: skip
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _turned(pairs: tensor, cos: tensor, sin: tensor, rows: constexpr, d: constexpr) -> tensor:
    """Return (rows, d) with neighbouring channels turned as the two parts of complex numbers, in float32."""
    even, odd = tl.split(tl.reshape(pairs.to(tl.float32), (rows, d // 2, 2)))
    return tl.reshape(tl.join(even * cos - odd * sin, even * sin + odd * cos), (rows, d))


@triton.jit  # type: ignore[untyped-decorator]
def _turn_keys(
    qkv_at: tensor, cos_at: tensor, sin_at: tensor, frames: tensor, heads: constexpr, d: constexpr
) -> None:
    """One program a frame, all heads at once."""
    row = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, d // 2)[None, :]
    at = (row % frames) * (d // 2) + i
    c = tl.arange(0, heads)[:, None] * d + tl.arange(0, d)[None, :]
    keys = qkv_at + (row * 3 + 1) * heads * d + c
    turned = _turned(tl.load(keys), tl.load(cos_at + at), tl.load(sin_at + at), heads, d)
    tl.store(keys, turned.to(qkv_at.dtype.element_ty))


def turn_keys(qkv: Any, cos: Any, sin: Any) -> None:
    """Turn the keys by their frame's rotary angles, in place.

    qkv is (2, n, 3, heads, d); cos and sin are float32 (n, d / 2). 2 x 2nD F16 move: queries and values stay where
    the product left them, for `attend` reads them there.
    """
    halves, frames, _, heads, d = qkv.shape
    _turn_keys[(halves * frames,)](qkv, cos, sin, frames, heads, d, num_warps=4)


@triton.jit  # type: ignore[untyped-decorator]
def _hear(
    best: tensor, total: tensor, heard: tensor, query: tensor, keys_at: tensor, values_at: tensor,
    row: tensor, j: tensor, c: tensor, meant: tensor, scale: tensor, masked: constexpr,
) -> tensor:  # fmt: skip
    """Take one tile of keys and values in; running maximum, sum of weights and weighted values of each query."""
    if masked:
        key = tl.load(keys_at + j[None, :] * row + c[:, None], mask=j[None, :] < meant, other=0.0)
    else:
        key = tl.load(keys_at + j[None, :] * row + c[:, None])
    score = tl.dot(query, key, input_precision="ieee")
    if masked:
        score = tl.where(j[None, :] < meant, score, -1e30)
    higher = tl.maximum(best, tl.max(score, 1) * scale)
    weight = tl.exp2(score * scale - higher[:, None])
    less = tl.exp2(best - higher)
    if masked:
        value = tl.load(values_at + j[:, None] * row + c[None, :], mask=j[:, None] < meant, other=0.0)
    else:
        value = tl.load(values_at + j[:, None] * row + c[None, :])
    heard = heard * less[:, None]
    heard = tl.dot(weight.to(value.dtype), value, heard, input_precision="ieee")
    return higher, total * less + tl.sum(weight, 1), heard


@triton.jit  # type: ignore[untyped-decorator]
def _attend(
    qkv_at: tensor, cos_at: tensor, sin_at: tensor, meant_at: tensor, out_at: tensor,
    frames: tensor, scale: tensor,
    heads: constexpr, d: constexpr, tile_q: constexpr, tile_k: constexpr,
) -> None:  # fmt: skip
    """One program a tile of queries of one head of one half; keys and values go by a tile at a time."""
    first = tl.program_id(0) * tile_q
    half = (tl.program_id(1) // heads).to(tl.int64)
    head = tl.program_id(1) % heads
    meant = tl.load(meant_at)
    meant = tl.where(first < meant, meant, 0)  # nobody asks what padding hears: that becomes nought
    row = 3 * heads * d
    base = qkv_at + half * frames * row + head * d
    m = first + tl.arange(0, tile_q)
    c = tl.arange(0, d)
    i = tl.arange(0, d // 2)
    there = m[:, None] < frames
    angle = m[:, None] * (d // 2) + i[None, :]
    cos = tl.load(cos_at + angle, mask=there, other=1.0)
    sin = tl.load(sin_at + angle, mask=there, other=0.0)
    query = tl.load(base + m[:, None] * row + c[None, :], mask=there, other=0.0)
    query = _turned(query, cos, sin, tile_q, d).to(qkv_at.dtype.element_ty)
    keys_at = base + heads * d
    values_at = base + 2 * heads * d
    best = tl.full((tile_q,), -1e30, tl.float32)
    total = tl.zeros((tile_q,), tl.float32)
    heard = tl.zeros((tile_q, d), tl.float32)
    whole = meant // tile_k * tile_k
    for start in range(0, whole, tile_k):
        j = start + tl.arange(0, tile_k)
        best, total, heard = _hear(
            best, total, heard, query, keys_at, values_at, row, j, c, meant, scale, False
        )
    if whole < meant:
        j = whole + tl.arange(0, tile_k)
        best, total, heard = _hear(
            best, total, heard, query, keys_at, values_at, row, j, c, meant, scale, True
        )
    heard = heard / tl.maximum(total, 1e-30)[:, None]
    to = out_at + ((half * frames + m[:, None]) * heads + head) * d + c[None, :]
    tl.store(to, heard.to(out_at.dtype.element_ty), mask=there)


def attend(qkv: Any, cos: Any, sin: Any, meant: Any) -> Any:
    """Return attention over the first `meant` keys, (2, n, D): queries turned here, keys by `turn_keys`.

    qkv is (2, n, 3, heads, d), cos and sin float32 (n, d / 2), `meant` int32 (1,) on the device. No mask is made:
    keys beyond are not read. 4 x 2nD F16 move where a head's keys and values stay in the cache.
    """
    halves, frames, _, heads, d = qkv.shape
    out = torch.empty(halves, frames, heads * d, dtype=qkv.dtype, device=qkv.device)
    _attend[(triton.cdiv(frames, _QUERIES), halves * heads)](
        qkv, cos, sin, meant, out, frames, d**-0.5 * _LOG2_E, heads, d, _QUERIES, _KEYS,
        num_warps=4, num_stages=_STAGES,
    )  # fmt: skip
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _convolve(
    x_at: tensor, weight_at: tensor, bias_at: tensor, meant_at: tensor, add_at: tensor, out_at: tensor,
    frames: tensor,
    groups: constexpr, width: constexpr, taps: constexpr, tile: constexpr, adds: constexpr,
) -> None:  # fmt: skip
    """One program a tile of frames of one group of one half: `taps` products of (tile, width) and (width, width)."""
    group = tl.program_id(1)
    base = tl.program_id(2).to(tl.int64) * frames
    meant = tl.load(meant_at)
    t = tl.program_id(0) * tile + tl.arange(0, tile)
    c = tl.arange(0, width)
    found = tl.zeros((tile, width), tl.float32)
    for tap in range(taps):
        s = t + tap - taps // 2
        x = tl.load(
            x_at + (base + s[:, None]) * (groups * width) + group * width + c[None, :],
            mask=(s[:, None] >= 0) & (s[:, None] < meant),
            other=0.0,
        )
        weight = tl.load(weight_at + ((group * taps + tap) * width + c[:, None]) * width + c[None, :])
        found = tl.dot(x, weight, found, input_precision="ieee")
    found += tl.load(bias_at + group * width + c).to(tl.float32)[None, :]
    found = found.to(out_at.dtype.element_ty).to(tl.float32)
    # mish(z) = z tanh(log(1 + e^z)) = z w / (w + 2) with w = e^z (e^z + 2), and z itself where e^z is huge
    e = tl.exp(tl.minimum(found, 20.0))
    w = e * (e + 2)
    found = tl.where(t[:, None] < meant, found * (w / (w + 2)), 0.0)
    to = (base + t[:, None]) * (groups * width) + group * width + c[None, :]
    there = t[:, None] < frames
    if adds:
        found = found.to(out_at.dtype.element_ty).to(tl.float32)
        found += tl.load(add_at + to, mask=there, other=0.0).to(tl.float32)
    tl.store(out_at + to, found.to(out_at.dtype.element_ty), mask=there)


def convolve(x: Any, weight: Any, bias: Any, meant: Any, add: Any | None = None) -> Any:
    """Return mish of a grouped convolution over frames, blind to those beyond `meant`, plus `add`: (2, n, D).

    x is (2, n, D), channels last as the step has it; weight (groups, taps, channels in, channels out) of a group;
    bias (D,). No frames are laid out for the product: each tap reads its shifted tile. 2 x 2nD F16 move, with `add`
    3 x 2nD, and the weights.
    """
    halves, frames, _ = x.shape
    groups, taps, width, _ = weight.shape
    out = torch.empty_like(x)
    _convolve[(triton.cdiv(frames, _PLACED), groups, halves)](
        x, weight, bias, meant, x if add is None else add, out, frames,
        groups, width, taps, _PLACED, add is not None, num_warps=4, num_stages=3,
    )  # fmt: skip
    return out
