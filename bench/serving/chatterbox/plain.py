"""The parts of a token's step in plain torch: what runs without Triton, and what its kernels are held to.

Names for shapes: B rows, the text heard and the text not heard (guidance); D channels of the model, h heads of d
channels, N rows of a weight, P places of the cache. Prompts have n rows for each of the two, and all but `attend` take
them.
"""

from typing import Any

from bench.serving.chatterbox.package import torch

_F = torch.nn.functional


def project(x: Any, norm: Any, weight: Any, eps: float) -> Any:
    """Return W rms_norm(x), (B, N); x is (B, D), norm (D,), weight (N, D)."""
    return _F.linear(_F.rms_norm(x, x.shape[-1:], norm, eps), weight)


def gate(x: Any, norm: Any, weight: Any, eps: float) -> Any:
    """Return silu(gate) * up of rms_norm(x), (B, N / 2); the weight's first half is the gate's."""
    gates, up = project(x, norm, weight, eps).chunk(2, dim=-1)
    return _F.silu(gates) * up


def add_product(x: Any, y: Any, weight: Any) -> Any:
    """Return x + W y, (B, D); y is (B, K), weight (D, K)."""
    return torch.addmm(x, y, weight.t())


def attend(qkv: Any, cos: Any, sin: Any, kept: Any, place: Any) -> Any:
    """Keep the token's keys and values at its place; return what its queries hear of all up to there, (B, h d).

    qkv is (B, 3 h d), not yet turned; cos and sin (P, d), the sine's first half negative; kept (B, h, P, 2, d), keys
    and values side by side; place (1,) on the device.
    """
    rows, heads, places, _, width = kept.shape
    parts = qkv.view(rows, 3, heads, width)
    turned = turn(parts[:, :2], cos.index_select(0, place), sin.index_select(0, place))
    kept.index_copy_(2, place, torch.stack((turned[:, 1], parts[:, 2]), dim=2)[:, :, None])
    bias = torch.zeros(places, device=kept.device, dtype=kept.dtype)
    bias.masked_fill_(torch.arange(places, device=kept.device) > place, float("-inf"))
    flat = kept.view(rows * heads, places, 2, width)
    # The bias makes its places exactly nothing: exp(-inf) is 0.
    weights = torch.baddbmm(
        bias.expand(rows * heads, 1, places),
        turned[:, 0].reshape(rows * heads, 1, width),
        flat[:, :, 0].transpose(1, 2),
        alpha=width**-0.5,
    )
    return torch.bmm(weights.softmax(dim=-1), flat[:, :, 1]).view(rows, -1)


def turn(x: Any, cos: Any, sin: Any) -> Any:
    """Return queries or keys turned to their places."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)
