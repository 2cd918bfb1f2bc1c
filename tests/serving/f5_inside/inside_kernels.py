"""The kernels against plain torch, in Triton's interpreter: test_f5.py sets TRITON_INTERPRET for this file alone."""

from dataclasses import replace
from typing import Any

import pytest
from triton.runtime.interpreter import InterpretedFunction

from bench.serving.f5 import graphs, kernels, parts, plain
from bench.serving.f5.adapter import F5
from bench.serving.f5.graphed import GraphedFlow
from bench.serving.f5.package import seed_everything, torch
from bench.serving.f5.parts import Parts, Sizes, choose
from bench.serving.trials import difference

HEADS, D, GROUPS, TAPS = 4, 32, 8, 7
CHANNELS = HEADS * D
KERNELS = ("add_and_norm", "turn_keys", "attend", "convolve")
LENGTHS = [(256, 200), (128, 128), (256, 64), (128, 1), (192, 129)]
"""Frames, and how many are meant: within a tile, whole tiles, one frame; a last tile of the bucket that is not full."""


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Triton compiled for a GPU that is not here, every kernel would give way and prove nothing.

    The interpreter takes milliseconds for a frame, so trials and solves are short.
    """
    assert isinstance(kernels._attend, InterpretedFunction)
    monkeypatch.setattr(parts, "_FRAMES", 24)
    monkeypatch.setattr(parts, "_MEANT", 20)
    monkeypatch.setattr(graphs, "BUCKET_FRAMES", 16)


def draw(*shape: int, dtype: Any = torch.float32, seed: int = 1) -> Any:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def apart(one: Any, other: Any) -> float:
    return float((one.double() - other.double()).norm() / other.double().norm())


def angles(frames: int) -> tuple[Any, Any]:
    turned = torch.arange(frames)[:, None] * torch.logspace(0, -4, D // 2)
    return turned.cos(), turned.sin()


def count(meant: int) -> Any:
    return torch.tensor([meant], dtype=torch.int32)


PRECISIONS = [(torch.float32, 1e-5), (torch.float16, 2e-3)]


@pytest.mark.parametrize(("dtype", "limit"), PRECISIONS, ids=["float32", "float16"])
@pytest.mark.parametrize("adds", [False, True])
@pytest.mark.parametrize("channels", [96, 128], ids=["no power of two", "a power of two"])
def test_norm_with_gate_and_modulation(dtype: Any, limit: float, adds: bool, channels: int) -> None:
    x, y = (draw(2, 5, channels, dtype=dtype, seed=seed) + 3 for seed in (1, 2))
    gate, scale, shift = draw(3, channels, dtype=dtype, seed=3)
    given: tuple[Any, Any] = (y, gate) if adds else (None, None)
    theirs_x, ours_x = x.clone(), x.clone()
    theirs = plain.add_and_norm(theirs_x, given[0], given[1], scale, shift)
    ours = kernels.add_and_norm(ours_x, given[0], given[1], scale, shift)
    assert ours.dtype == dtype
    assert apart(ours, theirs) < limit
    assert apart(ours_x, theirs_x) < limit
    assert adds != torch.equal(ours_x, x), "the sum is what the next block starts from"


@pytest.mark.parametrize(("dtype", "limit"), PRECISIONS, ids=["float32", "float16"])
def test_keys_are_turned_and_nothing_else(dtype: Any, limit: float) -> None:
    qkv = draw(2, 40, 3, HEADS, D, dtype=dtype)
    theirs, ours = qkv.clone(), qkv.clone()
    plain.turn_keys(theirs, *angles(40))
    kernels.turn_keys(ours, *angles(40))
    assert apart(ours[:, :, 1], theirs[:, :, 1]) < limit
    assert torch.equal(ours[:, :, ::2], qkv[:, :, ::2])


@pytest.mark.parametrize(("dtype", "limit"), PRECISIONS, ids=["float32", "float16"])
@pytest.mark.parametrize(("frames", "meant"), LENGTHS)
def test_attention_hears_what_is_meant(dtype: Any, limit: float, frames: int, meant: int) -> None:
    qkv = draw(2, frames, 3, HEADS, D, dtype=dtype) * 2
    theirs = plain.attend(qkv, *angles(frames), count(meant))[:, :meant]
    qkv[:, meant:, 1:] = float("nan")  # were it read, it would be heard
    ours = kernels.attend(qkv, *angles(frames), count(meant))[:, :meant]
    assert ours.dtype == dtype
    assert apart(ours, theirs) < limit


@pytest.mark.parametrize(("dtype", "limit"), PRECISIONS, ids=["float32", "float16"])
@pytest.mark.parametrize(("frames", "meant"), LENGTHS)
@pytest.mark.parametrize("adds", [False, True])
def test_convolution_is_blind_to_padding(
    dtype: Any, limit: float, frames: int, meant: int, adds: bool
) -> None:
    width = CHANNELS // GROUPS
    x = draw(2, frames, CHANNELS, dtype=dtype)
    weight = (draw(GROUPS, TAPS, width, width, seed=2) * (TAPS * width) ** -0.5).to(dtype)
    bias, add = draw(CHANNELS, dtype=dtype, seed=3), draw(2, frames, CHANNELS, dtype=dtype, seed=4)
    more = (add,) if adds else ()
    theirs = plain.convolve(x, weight, bias, count(meant), *more)
    x[:, meant:] = float("nan")
    ours = kernels.convolve(x, weight, bias, count(meant), *more)
    assert ours.dtype == dtype
    assert apart(ours, theirs) < limit
    assert torch.equal(ours[:, meant:], add[:, meant:] if adds else torch.zeros_like(ours[:, meant:]))


def test_mish_of_what_is_huge_is_finite() -> None:
    x = torch.zeros(2, 128, CHANNELS)
    bias = torch.linspace(-90, 90, CHANNELS)
    weight = torch.zeros(GROUPS, TAPS, CHANNELS // GROUPS, CHANNELS // GROUPS)
    ours = kernels.convolve(x, weight, bias, count(128))
    assert apart(ours, torch.nn.functional.mish(bias).expand_as(ours)) < 1e-5


# -- which of them run -------------------------------------------------------------------------------------

SIZES = Sizes(HEADS, D, 2 * CHANNELS, GROUPS, TAPS, torch.float16, torch.device("cpu"))


def test_kernels_that_are_right_are_taken() -> None:
    chosen = choose(SIZES)
    assert {name: chosen.said[name] for name in KERNELS} == dict.fromkeys(KERNELS, "triton")
    assert all(getattr(chosen, name) is getattr(kernels, name) for name in KERNELS)
    assert chosen.said["raise_with_gelu"] == "plain: NotImplementedError: torch does this on CUDA alone"
    assert chosen.raise_with_gelu is plain.raise_with_gelu


def _does_not_compile(*_: Any) -> Any:
    raise RuntimeError("no kernel image for this device")


FAULTS: dict[str, Any] = {
    "does not compile": lambda _: _does_not_compile,
    "is 1% off": lambda right: lambda *given: _spoilt(right, given, lambda tensor: tensor.mul_(1.01)),
    "is not finite": lambda right: (
        lambda *given: _spoilt(right, given, lambda tensor: tensor.fill_(float("nan")))
    ),
}


def _spoilt(right: Any, given: tuple[Any, ...], spoil: Any) -> Any:
    returned = right(*given)
    spoil(given[0] if returned is None else returned)
    return returned


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", KERNELS)
def test_a_kernel_that_fails_gives_way_alone(name: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, name, FAULTS[fault](getattr(kernels, name)))
    chosen = choose(SIZES)
    assert getattr(chosen, name) is getattr(plain, name)
    assert chosen.said[name].startswith("plain: ")
    assert {other: chosen.said[other] for other in KERNELS if other != name} == {
        other: "triton" for other in KERNELS if other != name
    }


def test_without_triton_all_is_plain_and_why_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bench.serving.f5.kernels", None)
    monkeypatch.delattr("bench.serving.f5.kernels")
    chosen = choose(SIZES)
    assert all(getattr(chosen, name) is getattr(plain, name) for name in KERNELS)
    assert all("kernels" in chosen.said[name] for name in KERNELS)


# -- the step that they make -------------------------------------------------------------------------------

ASKED: dict[str, Any] = {
    "text": [list("some words. and more")], "duration": 35, "steps": 2, "cfg_strength": 2.0,
    "sway_sampling_coef": -1.0,
}  # fmt: skip


def _wave() -> Any:
    return draw(1, 5000) * 0.1


def test_the_solver_on_kernels_makes_the_packages_mel(upstream: F5) -> None:
    flow = GraphedFlow(upstream._model, 2.0)
    assert {flow.kernels[name] for name in KERNELS} == {"triton"}
    seed_everything(3)
    theirs, _ = upstream._model.sample(cond=_wave(), **ASKED)
    seed_everything(3)
    ours, _ = flow.sample(cond=_wave(), **ASKED)
    assert apart(ours, theirs) < 1e-5


def test_a_part_that_gives_way_fits_between_kernels(upstream: F5) -> None:
    """It hands the next one what a kernel would: the same values, in the same order in memory."""
    flow = GraphedFlow(upstream._model, 2.0)
    ours = flow._parts

    def solved(chosen: Parts) -> Any:
        flow._parts = chosen
        seed_everything(3)
        return flow.sample(cond=_wave(), **(ASKED | {"steps": 1}))[0]

    expected = solved(ours)
    for name in KERNELS:
        assert apart(solved(replace(ours, **{name: getattr(plain, name)})), expected) < 1e-5, name


def test_the_trial_finds_what_rounding_does_not_explain() -> None:
    """How far the kernels are from plain torch in float16: well under what is asked of them."""
    for name, given in parts._trials(SIZES):
        if name in KERNELS:
            found = difference(
                parts._outcome(getattr(kernels, name), given), parts._outcome(getattr(plain, name), given)
            )
            assert found < parts.MOST_APART / 3, name
