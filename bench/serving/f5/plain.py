"""kernels.py in plain torch: the same signatures and the same arithmetic, for where a kernel cannot be had.

What is padding is masked here, where the kernels leave it out.
"""

from typing import Any

import torch

_F = torch.nn.functional


def add_and_norm(x: Any, y: Any | None, gate: Any | None, scale: Any, shift: Any) -> Any:
    """Return layer norm of x, times 1 + scale, plus shift; where y is given, x += gate * y first, in place."""
    if y is not None:
        x.addcmul_(gate, y)
    # The modulation is the layer norm's affine part: one kernel instead of three.
    return _F.layer_norm(x, x.shape[-1:], 1 + scale, shift, eps=1e-6)


def turn_keys(qkv: Any, cos: Any, sin: Any) -> None:
    """Turn the keys of (2, n, 3, heads, d) by their frame's rotary angles, in place."""
    qkv[:, :, 1] = _turned(qkv[:, :, 1], cos, sin)


def attend(qkv: Any, cos: Any, sin: Any, meant: Any) -> Any:
    """Return attention over the first `meant` keys, (2, n, D): queries turned here, keys by `turn_keys`."""
    halves, n, _, heads, _ = qkv.shape
    query = _turned(qkv[:, :, 0], cos, sin)
    query, key, value = (each.transpose(1, 2) for each in (query, qkv[:, :, 1], qkv[:, :, 2]))
    bias = torch.zeros(n, dtype=qkv.dtype, device=qkv.device)
    bias = bias.masked_fill(_beyond(n, meant), float("-inf"))
    heard = _F.scaled_dot_product_attention(query, key, value, attn_mask=bias.expand(halves, heads, n, n))
    return heard.transpose(1, 2).flatten(2)


def convolve(x: Any, weight: Any, bias: Any, meant: Any, add: Any | None = None) -> Any:
    """Return mish of a grouped convolution over frames, blind to those beyond `meant`, plus `add`: (2, n, D)."""
    groups, taps, width, _ = weight.shape
    kernel = weight.permute(0, 3, 2, 1).reshape(groups * width, width, taps)
    beyond = _beyond(x.shape[1], meant)
    seen = x.transpose(1, 2).masked_fill(beyond, 0.0)
    found = _F.conv1d(seen, kernel, bias, padding=taps // 2, groups=groups).masked_fill(beyond, 0.0)
    found = _F.mish(found).transpose(1, 2).contiguous()  # a kernel may come next
    return found if add is None else found + add


def raise_with_gelu(x: Any, weight: Any, bias: Any) -> Any:
    """Return tanh-GELU of x weight^T + bias: (2, n, in) to (2, n, out)."""
    return _F.gelu(_F.linear(x, weight, bias), approximate="tanh")


def _turned(pairs: Any, cos: Any, sin: Any) -> Any:
    """Return (2, n, heads, d) with neighbouring channels turned as the two parts of complex numbers."""
    numbers = torch.view_as_complex(pairs.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(numbers * torch.complex(cos, sin)[:, None]).flatten(-2).to(pairs.dtype)


def _beyond(n: int, meant: Any) -> Any:
    return torch.arange(n, device=meant.device) >= meant
