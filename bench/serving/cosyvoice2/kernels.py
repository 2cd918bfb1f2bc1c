"""The parts of a token's step, each as one Triton kernel; plain.py has the same arithmetic and the same signatures.

A token is one row, so nothing here is a matrix product: weights are read once, at the speed of the memory, and what
counts is how few kernels a token starts (five a layer, where torch takes seventeen). Sums are in float32.

Nothing is of one GPU alone. `TRITON_INTERPRET=1` before the first import runs all of it on a CPU. d is a power of two.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from triton.language import constexpr, tensor

_ROWS = 4
"""Rows of a weight a program takes."""
_COLUMNS = 1024
"""Columns of a weight at a time where there are many."""
_PLACES = 256
"""Places of the cache at a time."""


@triton.jit  # type: ignore[untyped-decorator]
def _normed(x_at: tensor, norm_at: tensor, width: constexpr, columns: constexpr, eps: constexpr) -> tensor:
    """Return rms_norm(x) in float32, padded with zeros."""
    c = tl.arange(0, columns)
    inside = c < width
    x = tl.load(x_at + c, mask=inside, other=0.0).to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(x * x, 0) / width + eps)
    return x * scale * tl.load(norm_at + c, mask=inside, other=0.0).to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def _rows_times(
    weight_at: tensor, row: tensor, x: tensor, rows: tensor, width: constexpr, columns: constexpr
) -> tensor:
    """Return each row's product with x, which is whole and in float32."""
    c = tl.arange(0, columns)
    inside = (row[:, None] < rows) & (c[None, :] < width)
    weight = tl.load(weight_at + row[:, None].to(tl.int64) * width + c[None, :], mask=inside, other=0.0)
    return tl.sum(weight.to(tl.float32) * x[None, :], 1)


@triton.jit  # type: ignore[untyped-decorator]
def _project(
    x_at: tensor, norm_at: tensor, weight_at: tensor, bias_at: tensor, out_at: tensor, rows: tensor,
    width: constexpr, columns: constexpr, eps: constexpr, tile: constexpr,
) -> None:  # fmt: skip
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    x = _normed(x_at, norm_at, width, columns, eps)
    said = _rows_times(weight_at, row, x, rows, width, columns)
    said += tl.load(bias_at + row, mask=row < rows, other=0.0).to(tl.float32)
    tl.store(out_at + row, said.to(out_at.dtype.element_ty), mask=row < rows)


def project(x: Any, norm: Any, weight: Any, bias: Any, eps: float) -> Any:
    """As `plain.project`; the weight is read once."""
    rows, width = weight.shape
    out = torch.empty(1, rows, device=x.device, dtype=x.dtype)
    _project[(triton.cdiv(rows, _ROWS),)](
        x, norm, weight, bias, out, rows, width, triton.next_power_of_2(width), eps, _ROWS, num_warps=4
    )
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _gate(
    x_at: tensor, norm_at: tensor, weight_at: tensor, out_at: tensor, rows: tensor,
    width: constexpr, columns: constexpr, eps: constexpr, tile: constexpr,
) -> None:  # fmt: skip
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    x = _normed(x_at, norm_at, width, columns, eps)
    gate = _rows_times(weight_at, row, x, rows, width, columns)
    up = _rows_times(weight_at + rows.to(tl.int64) * width, row, x, rows, width, columns)
    said = gate / (1.0 + tl.exp(-gate)) * up
    tl.store(out_at + row, said.to(out_at.dtype.element_ty), mask=row < rows)


def gate(x: Any, norm: Any, weight: Any, eps: float) -> Any:
    """As `plain.gate`; the weight is read once, and what lies between is never stored."""
    rows, width = weight.shape[0] // 2, weight.shape[1]
    out = torch.empty(1, rows, device=x.device, dtype=x.dtype)
    _gate[(triton.cdiv(rows, _ROWS),)](
        x, norm, weight, out, rows, width, triton.next_power_of_2(width), eps, _ROWS, num_warps=4
    )
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _add_product(
    x_at: tensor, y_at: tensor, weight_at: tensor, out_at: tensor, rows: tensor,
    width: constexpr, columns: constexpr, tile: constexpr,
) -> None:  # fmt: skip
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    total = tl.zeros((tile, columns), tl.float32)
    for start in range(0, width, columns):
        c = start + tl.arange(0, columns)
        y = tl.load(y_at + c, mask=c < width, other=0.0).to(tl.float32)
        inside = (row[:, None] < rows) & (c[None, :] < width)
        weight = tl.load(weight_at + row[:, None].to(tl.int64) * width + c[None, :], mask=inside, other=0.0)
        total += weight.to(tl.float32) * y[None, :]
    said = tl.sum(total, 1) + tl.load(x_at + row, mask=row < rows, other=0.0).to(tl.float32)
    tl.store(out_at + row, said.to(out_at.dtype.element_ty), mask=row < rows)


def add_product(x: Any, y: Any, weight: Any) -> Any:
    """As `plain.add_product`; the weight is read once."""
    rows, width = weight.shape
    out = torch.empty_like(x)
    columns = min(_COLUMNS, triton.next_power_of_2(width))
    _add_product[(triton.cdiv(rows, _ROWS),)](x, y, weight, out, rows, width, columns, _ROWS, num_warps=4)
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _turned(at: tensor, cos: tensor, sin: tensor, d: constexpr) -> tensor:
    """Return a head's channels turned, in float32."""
    c = tl.arange(0, d)
    one = tl.load(at + c).to(tl.float32)
    other = tl.load(at + (c + d // 2) % d).to(tl.float32)
    return one * cos + other * sin


@triton.jit  # type: ignore[untyped-decorator]
def _attend(
    qkv_at: tensor, cos_at: tensor, sin_at: tensor, kept_at: tensor, place_at: tensor, out_at: tensor,
    places: tensor, scale: tensor, heads: constexpr, kv_heads: constexpr, d: constexpr, tile: constexpr,
) -> None:  # fmt: skip
    """One program a query head. The places before the token's come from the cache, its own from the registers, so that
    no program waits for the one that stores it."""
    head = tl.program_id(0)
    groups: constexpr = heads // kv_heads
    kv = head // groups
    c = tl.arange(0, d)
    place = tl.load(place_at).to(tl.int32)
    cos = tl.load(cos_at + place * d + c).to(tl.float32)
    sin = tl.load(sin_at + place * d + c).to(tl.float32)
    query = _turned(qkv_at + head * d, cos, sin, d) * scale
    key = _turned(qkv_at + (heads + kv) * d, cos, sin, d).to(kept_at.dtype.element_ty)
    value = tl.load(qkv_at + (heads + kv_heads + kv) * d + c)
    mine = kept_at + kv * places.to(tl.int64) * 2 * d
    if head % groups == 0:
        tl.store(mine + place * 2 * d + c, key)
        tl.store(mine + place * 2 * d + d + c, value)
    best = tl.sum(query * key.to(tl.float32), 0)
    total = 1.0
    heard = value.to(tl.float32)
    for start in range(0, place, tile):
        j = start + tl.arange(0, tile)
        before = j < place
        at = mine + j[:, None] * 2 * d + c[None, :]
        keys = tl.load(at, mask=before[:, None], other=0.0).to(tl.float32)
        score = tl.where(before, tl.sum(keys * query[None, :], 1), float("-inf"))
        higher = tl.maximum(best, tl.max(score, 0))
        less = tl.exp(best - higher)
        weight = tl.exp(score - higher)
        values = tl.load(at + d, mask=before[:, None], other=0.0).to(tl.float32)
        heard = heard * less + tl.sum(weight[:, None] * values, 0)
        total = total * less + tl.sum(weight, 0)
        best = higher
    tl.store(out_at + head * d + c, (heard / total).to(out_at.dtype.element_ty))


def attend(qkv: Any, cos: Any, sin: Any, kept: Any, place: Any) -> Any:
    """As `plain.attend`; of the cache only the places before the token's are read."""
    kv_heads, places, _, d = kept.shape
    heads = qkv.shape[-1] // d - 2 * kv_heads
    out = torch.empty(1, heads * d, device=qkv.device, dtype=qkv.dtype)
    _attend[(heads,)](
        qkv, cos, sin, kept, place, out, places, d**-0.5, heads, kv_heads, d, _PLACES, num_warps=8
    )
    return out
