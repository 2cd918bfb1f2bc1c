"""The parts of a token's step in plain torch: what runs without Triton, and what its kernels are held to.

Names for shapes: D channels of the model, h query heads and g key heads of d channels, N rows of a weight, P places of
the cache. A step has one row of x, (1, D); `begin` has n, and all
but `attend` take them.
"""

from typing import Any

from bench.serving.cosyvoice2.package import torch

_F = torch.nn.functional


def project(x: Any, norm: Any, weight: Any, bias: Any, eps: float) -> Any:
    """Return W rms_norm(x) + bias, (1, N); norm is (D,), weight (N, D), bias (N,)."""
    return _F.linear(_F.rms_norm(x, x.shape[-1:], norm, eps), weight, bias)


def gate(x: Any, norm: Any, weight: Any, eps: float) -> Any:
    """Return silu(gate) * up of rms_norm(x), (1, N / 2); the weight's first half is the gate's."""
    gates, up = _F.linear(_F.rms_norm(x, x.shape[-1:], norm, eps), weight).chunk(2, dim=-1)
    return _F.silu(gates) * up


def add_product(x: Any, y: Any, weight: Any) -> Any:
    """Return x + W y, (1, D); y is (1, K), weight (D, K)."""
    return torch.addmm(x, y, weight.t())


def attend(qkv: Any, cos: Any, sin: Any, kept: Any, place: Any) -> Any:
    """Keep the token's key and value at its place; return what its queries hear of all up to there, (1, h d).

    qkv is (1, (h + 2 g) d), not yet turned; cos and sin (P, d), the sine's first half negative; kept (g, P, 2, d), keys
    and values side by side; place (1,) on the device.
    """
    kv_heads, places, _, width = kept.shape
    parts = qkv.view(-1, width)
    turning, values = parts[:-kv_heads], parts[-kv_heads:]
    turned = torch.addcmul(
        turning * cos.index_select(0, place),
        turning.roll(width // 2, dims=-1),
        sin.index_select(0, place),
    )
    queries, keys = turned[:-kv_heads], turned[-kv_heads:]
    kept.index_copy_(1, place, torch.stack((keys, values), dim=1)[:, None])
    bias = torch.zeros(places, device=kept.device, dtype=kept.dtype)
    bias.masked_fill_(torch.arange(places, device=kept.device) > place, float("-inf"))
    groups = queries.shape[0] // kv_heads
    # The bias makes its places exactly nothing: exp(-inf) is 0.
    weights = torch.baddbmm(
        bias.expand(kv_heads, groups, places),
        queries.view(kv_heads, groups, width),
        kept[:, :, 0].transpose(1, 2),
        alpha=width**-0.5,
    )
    return torch.bmm(weights.softmax(dim=-1), kept[:, :, 1]).view(1, -1)
