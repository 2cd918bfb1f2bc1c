"""What is recorded in graphs beside the flow's step: vocoder and chunk; and that the kernels compile for each GPU."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from bench.serving.f5 import kernels, plain
from bench.serving.f5 import reference as references
from bench.serving.f5.adapter import F5, PRESET
from bench.serving.f5.chunk import ChunkSpeaker
from bench.serving.f5.graphed import GraphedFlow
from bench.serving.f5.package import seed_everything, torch
from bench.serving.f5.vocoder import GraphedVocoder
from tests.serving.f5_inside.given import QUICK, SHORT, SPOKEN, profile, speak
from tests.support.voiced import voiced

# -- vocoder -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [2, 5, 127, 128, 129, 300])
def test_the_vocoder_in_graphs_says_what_vocos_does(upstream: F5, frames: int) -> None:
    vocoder = GraphedVocoder(upstream._vocoder)
    mel = torch.randn(1, 100, frames, generator=torch.Generator().manual_seed(frames))
    vocoder.prepare(300)
    with torch.inference_mode():
        for plan in vocoder._plans.all():  # what an earlier, longer chunk left behind
            plan.mel.fill_(1e3)
            plan.wave.fill_(1e3)
        theirs = upstream._vocoder.decode(mel)
    ours = vocoder.decode(mel)
    assert ours.shape == theirs.shape == (1, (frames - 1) * 256)
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-5


def test_what_the_vocoder_returns_is_not_overwritten_by_the_next(upstream: F5) -> None:
    vocoder = GraphedVocoder(upstream._vocoder)
    first = vocoder.decode(torch.zeros(1, 100, 40))
    kept = first.clone()
    vocoder.decode(torch.ones(1, 100, 40))
    assert torch.equal(first, kept)


# -- chunk -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def graphed(weights: dict[str, Path]) -> F5:
    engine = F5()
    engine.load(profile("graphed", nfe_step=QUICK), weights)
    return engine


CHUNKS = {
    "ordinary": SHORT,
    "under ten bytes, which the package says slowly": "Oh yes.",
    "of more bytes than letters": "Où êtes-vous né, été 1999 ?",
}
VOICES = {
    "loud": (0.5, SPOKEN),
    "quiet, which the package raises": (0.02, SPOKEN),
    "a transcript that ends in three bytes": (0.5, "This is the voice that everybody hears。"),
}


@pytest.mark.parametrize("speed", [1.0, 0.7])
@pytest.mark.parametrize("chunk", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize(("loudness", "words"), VOICES.values(), ids=VOICES)
def test_a_chunk_is_what_the_package_makes_of_it(
    upstream: F5, graphed: F5, tmp_path: Path, loudness: float, words: str, chunk: str, speed: float
) -> None:
    wave = voiced(4.0)
    path = tmp_path / "clip.wav"
    soundfile.write(path, wave * (loudness / abs(wave).max()), 24000, subtype="FLOAT")
    voice = references.prepare(path, words)
    waves = []
    for engine in (upstream, graphed):
        seed_everything(4)
        waves.append(engine._wave(voice, chunk, speed, engine._flow))
    theirs, ours = waves
    assert ours.shape == theirs.shape
    assert abs(ours - theirs).max() < 1e-4 * abs(theirs).max()


def test_what_a_voice_fixes_is_computed_once(upstream: F5, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = GraphedFlow(upstream._model, upstream._infer.keywords["cfg_strength"])
    speaker = ChunkSpeaker(flow, GraphedVocoder(upstream._vocoder))
    seen: list[Any] = []
    mel = flow.mel

    def counted(wave: Any) -> Any:
        seen.append(wave)
        return mel(wave)

    monkeypatch.setattr(flow, "mel", counted)
    for _ in range(3):
        speaker.speak(upstream._voices[PRESET], SHORT, speed=1.0, steps=2, sway=-1.0)
    assert len(seen) == 1


def test_a_registered_voice_is_captured_before_it_speaks(
    graphed: F5, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphed.register("mine", clip, SPOKEN)
    speaker = graphed._flow
    for plans in (speaker.flow._plans, speaker._vocoder._plans):
        monkeypatch.setattr(plans, "_make", _must_not_be_called)
    monkeypatch.setattr(speaker.flow, "mel", _must_not_be_called)
    assert len(speak(graphed, "A sentence of a length that nobody has said before.", voice="mine")) > 0


def _must_not_be_called(*_: Any) -> Any:
    raise AssertionError("a request waits for this")


def test_which_kernels_ran_is_read_back(graphed: F5, upstream: F5) -> None:
    assert upstream.read_back()["kernels"] is None
    said = graphed.read_back()["kernels"]
    assert set(said) == {"add_and_norm", "turn_keys", "attend", "convolve", "raise_with_gelu"}
    assert all(why.startswith("plain: ") for why in said.values()), "no GPU is here"


def test_torch_still_has_a_product_that_ends_in_gelu() -> None:
    """Private (requirements/README.md); on a CPU it takes the exact GELU, which tanh's is within 1e-3 of."""
    source = torch.Generator().manual_seed(1)
    x, weight, bias = (torch.randn(shape, generator=source) for shape in ((5, 8), (6, 8), (6,)))
    raised = torch._addmm_activation(bias, x, weight.T, use_gelu=True)
    wanted = plain.raise_with_gelu(x[None], weight, bias)[0]
    assert (raised - wanted).abs().max() < 1e-3


def test_what_triton_compiles_is_kept_with_the_venv(
    weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    F5().load(profile("graphed", nfe_step=QUICK), weights)
    assert triton.knobs.cache.dir == str(Path(sys.prefix) / "triton-cache")
    monkeypatch.setenv("TRITON_CACHE_DIR", "/somewhere/of/yours")
    F5().load(profile("graphed", nfe_step=QUICK), weights)
    assert triton.knobs.cache.dir == "/somewhere/of/yours"


# -- kernels, compiled -------------------------------------------------------------------------------------

_ROW, _ANGLES, _N, _NUMBER = "*fp16", "*fp32", "i32", "fp32"
COMPILED: dict[str, tuple[dict[str, str], dict[str, Any], int, int]] = {
    "_add_and_norm": (
        dict.fromkeys(("x_at", "y_at", "gate_at", "scale_at", "shift_at", "out_at"), _ROW),
        {"channels": 1024, "width": 1024, "eps": 1e-6, "adds": True}, 4, 3,
    ),
    "_turn_keys": (
        {"qkv_at": _ROW, "cos_at": _ANGLES, "sin_at": _ANGLES, "frames": _N}, {"heads": 16, "d": 64}, 4, 3,
    ),
    "_attend": (
        {"qkv_at": _ROW, "cos_at": _ANGLES, "sin_at": _ANGLES, "meant_at": "*i32", "out_at": _ROW, "frames": _N,
         "scale": _NUMBER},
        {"heads": 16, "d": 64, "tile_q": kernels._QUERIES, "tile_k": kernels._KEYS}, 4, kernels._STAGES,
    ),
    "_convolve": (
        {"x_at": _ROW, "weight_at": _ROW, "bias_at": _ROW, "meant_at": "*i32", "add_at": _ROW, "out_at": _ROW,
         "frames": _N},
        {"groups": 16, "width": 64, "taps": 31, "tile": kernels._PLACED, "adds": True}, 4, 3,
    ),
}  # fmt: skip
"""F5TTS_v1_Base's: arguments, what is fixed when it is compiled, warps and stages, as the launchers have them."""
GB10_SHARED_BYTES = 99 * 1024
"""What a block may have of compute capability 12.x (CUDA's programming guide); of 9.0, 227 KiB."""


@pytest.mark.parametrize("capability", [90, 121])
@pytest.mark.parametrize("name", COMPILED)
def test_the_kernels_compile_for_hopper_and_gb10(
    name: str, capability: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Down to machine code, by the ptxas that comes with Triton; nothing is said of how fast it is."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    signature, fixed, warps, stages = COMPILED[name]
    source = ASTSource(
        fn=getattr(kernels, name),
        signature=signature | dict.fromkeys(fixed, "constexpr"),
        constexprs=fixed,
        attrs={
            (i,): [["tt.divisibility", 16]] for i, kind in enumerate(signature.values()) if kind != _NUMBER
        },
    )
    made = triton.compile(
        source,
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": warps, "num_stages": stages},
    )
    assert f".target sm_{capability}" in made.asm["ptx"]
    assert made.asm["cubin"][:4] == b"\x7fELF"
    assert made.metadata.shared <= GB10_SHARED_BYTES
    shutil.rmtree(tmp_path)
