"""The kernels of a token's step against plain torch, in Triton's interpreter: TRITON_INTERPRET is set for this file."""

from dataclasses import replace
from typing import Any

import pytest
from triton.runtime.interpreter import InterpretedFunction

from bench.catalog.loader import load
from bench.serving.cosyvoice2 import kernels, parts, plain
from bench.serving.cosyvoice2.adapter import CosyVoice2
from bench.serving.cosyvoice2.decoding import Decoder
from bench.serving.cosyvoice2.package import torch
from bench.serving.cosyvoice2.parts import Sizes, choose
from bench.serving.trials import difference
from tests.support import tiny_cosyvoice2 as tiny

NAMES = ("project", "gate", "add_product", "attend")
SIZES = Sizes(
    channels=96, up=150, heads=6, kv_heads=2, head_channels=16, eps=1e-6, dtype=torch.float32,
    device=torch.device("cpu"),
)  # fmt: skip
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


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Upstream's language model, tiny."""
    root = tmp_path_factory.mktemp("weights")
    tiny.build(root)
    engine = CosyVoice2()
    engine.load(load("cosyvoice2").profiles["fixed"], tiny.pinned(root))
    return engine._package.model.llm


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
    kept[:, place:] = float("nan")  # what lies there is of an earlier sentence, and never read
    at = torch.tensor([place])
    ours, theirs = kept.clone(), kept.nan_to_num(0.0)
    heard = kernels.attend(qkv, cos, sin, ours, at)
    wanted = plain.attend(qkv, cos, sin, theirs, at)
    assert difference([heard], [wanted]) < 1e-6
    assert difference([ours[:, : place + 1]], [theirs[:, : place + 1]]) < 1e-6


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


def test_the_trial_finds_an_attention_that_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(qkv: Any, cos: Any, sin: Any, kept: Any, place: Any) -> Any:
        return plain.attend(qkv, cos, sin, kept.clone(), place)

    monkeypatch.setattr(kernels, "attend", forgets)
    for dtype in (torch.float32, torch.bfloat16):
        assert choose(replace(SIZES, dtype=dtype)).said["attend"].startswith("plain: ArithmeticError")


def test_a_sentence_on_kernels_has_the_scores_of_plain_torch(llm: Any) -> None:
    decoder = Decoder(llm, torch.float32, cache=64)
    assert set(decoder.parts.said.values()) == {"triton"}
    prompt = torch.randn(1, 20, llm.llm_input_size, generator=torch.Generator().manual_seed(5)) * 0.02

    def scores() -> Any:
        decoder.may_stop(True)
        decoder.begin(prompt)
        said = []
        for token in (5, 900, 17, 5, 6000):
            decoder.step(token)
            said.append(decoder.scores())
        return torch.stack(said)

    with torch.inference_mode():
        on_kernels = scores()
        decoder.parts = replace(decoder.parts, **{name: getattr(plain, name) for name in NAMES})
        assert (on_kernels - scores()).abs().max() < 2e-5
