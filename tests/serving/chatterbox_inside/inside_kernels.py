"""The kernels of a token's step against plain torch, in Triton's interpreter: TRITON_INTERPRET is set for this file."""

from dataclasses import replace
from typing import Any

import pytest
from triton.runtime.interpreter import InterpretedFunction

from bench.serving.chatterbox import kernels, parts, plain
from bench.serving.chatterbox.decoding import Decoder
from bench.serving.chatterbox.package import torch, tts
from bench.serving.chatterbox.parts import Sizes, choose
from bench.serving.chatterbox.settings import ChatterboxSettings
from bench.serving.trials import difference
from tests.support import tiny_chatterbox as tiny

NAMES = ("project", "gate", "add_product", "attend")
SIZES = Sizes(
    channels=96, up=150, heads=6, head_channels=16, eps=1e-5, dtype=torch.float32, device=torch.device("cpu")
)
"""None of the widths is a power of two, nor whole tiles of rows."""
PRECISIONS = [(torch.float32, 1e-6), (torch.float16, 1.5e-3), (torch.bfloat16, 1e-2)]


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Triton compiled for a GPU that is not here, every kernel would give way and prove nothing."""
    assert isinstance(kernels._attend, InterpretedFunction)
    monkeypatch.setattr(kernels, "_PLACES", 16)
    monkeypatch.setattr(kernels, "_COLUMNS", 64)
    monkeypatch.setattr(parts, "_PLACES", 40)
    monkeypatch.setattr(parts, "_PLACE", 30)


def trial(name: str, dtype: Any = torch.float32) -> tuple[Any, ...]:
    return dict(parts._trials(replace(SIZES, dtype=dtype)))[name]


def apart(name: str, arguments: tuple[Any, ...]) -> float:
    return difference(
        parts._outcome(getattr(kernels, name), arguments), parts._outcome(getattr(plain, name), arguments)
    )


@pytest.mark.parametrize(("dtype", "limit"), PRECISIONS, ids=["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_each_is_plain_torch_but_for_rounding(name: str, dtype: Any, limit: float) -> None:
    arguments = trial(name, dtype)
    assert getattr(kernels, name)(*arguments).dtype == dtype
    assert apart(name, arguments) < limit


@pytest.mark.parametrize("place", [0, 1, 15, 16, 17, 32, 39])
def test_attention_at_every_edge_of_a_tile(place: int) -> None:
    qkv, cos, sin, kept, _ = trial("attend")
    kept[:, :, place:] = float("nan")  # what lies there is of an earlier utterance, and never read
    at = torch.tensor([place])
    ours, theirs = kept.clone(), kept.nan_to_num(0.0)
    heard = kernels.attend(qkv, cos, sin, ours, at)
    wanted = plain.attend(qkv, cos, sin, theirs, at)
    assert difference([heard], [wanted]) < 1e-6
    assert difference([ours[:, :, : place + 1]], [theirs[:, :, : place + 1]]) < 1e-6


def _lies(kernel: Any) -> Any:
    return lambda *arguments: kernel(*arguments) * 1.01


def _fails(kernel: Any) -> Any:
    def failing(*_: Any) -> Any:
        raise RuntimeError(f"{kernel} does not compile")

    return failing


@pytest.mark.parametrize("fault", [_lies, _fails])
@pytest.mark.parametrize("name", NAMES)
def test_one_that_fails_gives_way_alone(name: str, fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, name, fault(getattr(kernels, name)))
    chosen = choose(SIZES)
    assert getattr(chosen, name) is getattr(plain, name)
    assert chosen.said[name].startswith("plain: ")
    assert {other: chosen.said[other] for other in NAMES if other != name} == {
        other: "triton" for other in NAMES if other != name
    }


def test_an_utterance_on_kernels_has_the_logits_of_plain_torch() -> None:
    tiny.shrink()
    torch.manual_seed(7)
    t3 = tts.T3().eval()
    decoder = Decoder(t3, ChatterboxSettings(), cache=64)
    assert set(decoder.parts.said.values()) == {"triton"}
    prompt = torch.randn(2, 20, t3.dim, generator=torch.Generator().manual_seed(5)) * 0.05

    def logits() -> Any:
        decoder.begin(prompt, 6561)
        said = []
        for token in (5, 900, 17, 5, 6000):
            decoder._token.fill_(token)
            decoder.step()
            said.append(decoder._logits.clone())
        return torch.stack(said)

    with torch.inference_mode():
        on_kernels = logits()
        decoder.parts = replace(decoder.parts, **{name: getattr(plain, name) for name in NAMES})
        assert (on_kernels - logits()).abs().max() < 5e-5
