"""The parts of a token's step, each as one Triton kernel; plain.py has the same arithmetic and the same signatures.

A token is two rows, so nothing here is a matrix product: weights are read once for both, at the speed of the memory,
and what counts is how few kernels a token starts (five a layer). Sums are in float32.

Nothing is of one GPU alone. `TRITON_INTERPRET=1` before the first import runs all of it on a CPU. d is a power of two.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from triton.language import constexpr, tensor

_TILE = 4
"""Rows of a weight a program takes."""
_COLUMNS = 1024
"""Columns of a weight at a time where there are many."""
_PLACES = 256
"""Places of the cache at a time."""


@triton.jit  # type: ignore[untyped-decorator]
def _normed(x_at: tensor, norm_at: tensor, width: constexpr, columns: constexpr, eps: constexpr) -> tensor:
    """Return rms_norm of one row in float32, padded with zeros."""
    c = tl.arange(0, columns)
    inside = c < width
    x = tl.load(x_at + c, mask=inside, other=0.0).to(tl.float32)
    scale = 1.0 / tl.sqrt(tl.sum(x * x, 0) / width + eps)
    return x * scale * tl.load(norm_at + c, mask=inside, other=0.0).to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def _weights(
    weight_at: tensor, row: tensor, rows: tensor, start: tensor, width: constexpr, columns: constexpr
) -> tensor:
    """Return a tile of a weight in float32, padded with zeros."""
    c = start + tl.arange(0, columns)
    inside = (row[:, None] < rows) & (c[None, :] < width)
    at = weight_at + row[:, None].to(tl.int64) * width + c[None, :]
    return tl.load(at, mask=inside, other=0.0).to(tl.float32)


@triton.jit  # type: ignore[untyped-decorator]
def _project(
    x_at: tensor, norm_at: tensor, weight_at: tensor, out_at: tensor, rows: tensor,
    batch: constexpr, width: constexpr, columns: constexpr, eps: constexpr, tile: constexpr,
) -> None:  # fmt: skip
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    weight = _weights(weight_at, row, rows, 0, width, columns)
    for one in tl.static_range(batch):
        x = _normed(x_at + one * width, norm_at, width, columns, eps)
        said = tl.sum(weight * x[None, :], 1)
        tl.store(out_at + one * rows + row, said.to(out_at.dtype.element_ty), mask=row < rows)


def project(x: Any, norm: Any, weight: Any, eps: float) -> Any:
    """As `plain.project`; the weight is read once."""
    rows, width = weight.shape
    batch = x.shape[0]
    out = torch.empty(batch, rows, device=x.device, dtype=x.dtype)
    _project[(triton.cdiv(rows, _TILE),)](
        x, norm, weight, out, rows, batch, width, triton.next_power_of_2(width), eps, _TILE, num_warps=4
    )
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _gate(
    x_at: tensor, norm_at: tensor, weight_at: tensor, out_at: tensor, rows: tensor,
    batch: constexpr, width: constexpr, columns: constexpr, eps: constexpr, tile: constexpr,
) -> None:  # fmt: skip
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    gates = _weights(weight_at, row, rows, 0, width, columns)
    ups = _weights(weight_at + rows.to(tl.int64) * width, row, rows, 0, width, columns)
    for one in tl.static_range(batch):
        x = _normed(x_at + one * width, norm_at, width, columns, eps)
        gate = tl.sum(gates * x[None, :], 1)
        said = gate / (1.0 + tl.exp(-gate)) * tl.sum(ups * x[None, :], 1)
        tl.store(out_at + one * rows + row, said.to(out_at.dtype.element_ty), mask=row < rows)


def gate(x: Any, norm: Any, weight: Any, eps: float) -> Any:
    """As `plain.gate`; the weight is read once, and what lies between is never stored."""
    rows, width = weight.shape[0] // 2, weight.shape[1]
    batch = x.shape[0]
    out = torch.empty(batch, rows, device=x.device, dtype=x.dtype)
    _gate[(triton.cdiv(rows, _TILE),)](
        x, norm, weight, out, rows, batch, width, triton.next_power_of_2(width), eps, _TILE, num_warps=4
    )
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _add_product(
    x_at: tensor, y_at: tensor, weight_at: tensor, out_at: tensor, rows: tensor,
    width: constexpr, columns: constexpr, tile: constexpr,
) -> None:  # fmt: skip
    """Two rows: a sum that grows over the columns cannot be one of a list."""
    row = tl.program_id(0) * tile + tl.arange(0, tile)
    first = tl.zeros((tile, columns), tl.float32)
    second = tl.zeros((tile, columns), tl.float32)
    for start in range(0, width, columns):
        c = start + tl.arange(0, columns)
        weight = _weights(weight_at, row, rows, start, width, columns)
        first += weight * tl.load(y_at + c, mask=c < width, other=0.0).to(tl.float32)[None, :]
        second += weight * tl.load(y_at + width + c, mask=c < width, other=0.0).to(tl.float32)[None, :]
    inside = row < rows
    said = tl.sum(first, 1) + tl.load(x_at + row, mask=inside, other=0.0).to(tl.float32)
    tl.store(out_at + row, said.to(out_at.dtype.element_ty), mask=inside)
    said = tl.sum(second, 1) + tl.load(x_at + rows + row, mask=inside, other=0.0).to(tl.float32)
    tl.store(out_at + rows + row, said.to(out_at.dtype.element_ty), mask=inside)


def add_product(x: Any, y: Any, weight: Any) -> Any:
    """As `plain.add_product`, for two rows; the weight is read once."""
    rows, width = weight.shape
    assert x.shape[0] == 2, "a step has two rows"
    out = torch.empty_like(x)
    columns = min(_COLUMNS, triton.next_power_of_2(width))
    _add_product[(triton.cdiv(rows, _TILE),)](x, y, weight, out, rows, width, columns, _TILE, num_warps=4)
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
    places: tensor, scale: tensor, heads: constexpr, d: constexpr, tile: constexpr,
) -> None:  # fmt: skip
    """One program a head and row. The places before the token's come from the cache, its own from the registers."""
    head = tl.program_id(0)
    one = tl.program_id(1)
    c = tl.arange(0, d)
    place = tl.load(place_at).to(tl.int32)
    cos = tl.load(cos_at + place * d + c).to(tl.float32)
    sin = tl.load(sin_at + place * d + c).to(tl.float32)
    said = qkv_at + one * 3 * heads * d + head * d
    query = _turned(said, cos, sin, d) * scale
    key = _turned(said + heads * d, cos, sin, d).to(kept_at.dtype.element_ty)
    value = tl.load(said + 2 * heads * d + c)
    mine = kept_at + (one * heads + head) * places.to(tl.int64) * 2 * d
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
    tl.store(out_at + (one * heads + head) * d + c, (heard / total).to(out_at.dtype.element_ty))


def attend(qkv: Any, cos: Any, sin: Any, kept: Any, place: Any) -> Any:
    """As `plain.attend`; of the cache only the places before the token's are read."""
    rows, heads, places, _, d = kept.shape
    out = torch.empty(rows, heads * d, device=qkv.device, dtype=qkv.dtype)
    _attend[(heads, rows)](qkv, cos, sin, kept, place, out, places, d**-0.5, heads, d, _PLACES, num_warps=8)
    return out
