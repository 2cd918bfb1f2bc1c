"""The Chatterbox adapter on upstream's real package and tiny random weights.

Run by test_chatterbox.py in the environment that make_chatterbox_venv.py builds; the name keeps the ordinary run from
collecting it, which has no torch.
"""

import itertools
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from bench.catalog.loader import load
from bench.engines.image.pip_check import undeclared
from bench.errors import BadInput
from bench.serving.adapter import BadReference, SpeechRequest, SynthesisError, UnknownVoice
from bench.serving.chatterbox import kernels
from bench.serving.chatterbox.adapter import FILES, PRESET, Chatterbox, _text_tokens
from bench.serving.chatterbox.decoding import Decoder
from bench.serving.chatterbox.graphed import KEPT_FRAMES, SAMPLES_PER_FRAME
from bench.serving.chatterbox.package import perth, torch
from bench.serving.chatterbox.settings import ChatterboxSettings
from bench.serving.chatterbox.watermark import HELD, SURE, MarkedStream, Watermark
from tests.support import tiny_chatterbox as tiny
from tests.support.voiced import voiced

TEXT = tiny.text(9)
"""90 tokens of speech, 3.6 s: more than a first and a second piece."""
SECONDS = 3.6
RATE = 24000
FIRST = 50 * SAMPLES_PER_FRAME - KEPT_FRAMES * SAMPLES_PER_FRAME - HELD
"""Samples of a stream's first piece: a second, but for what is spoken again and what waits for its watermark."""


@pytest.fixture(autouse=True, scope="session")
def nothing_is_asked_of_the_network() -> Iterator[None]:
    """Every attempt to look a name up or to connect fails the session, whoever swallows the error."""
    asked: list[str] = []

    def refuse(*arguments: Any, **_: Any) -> Any:
        asked.append(repr(arguments))
        raise OSError("the test allows no network")

    patch = pytest.MonkeyPatch()
    patch.setattr(socket, "getaddrinfo", refuse)
    patch.setattr(socket.socket, "connect", refuse)
    yield
    patch.undo()
    assert asked == []


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("weights")
    tiny.build(root)
    return root


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _written(tmp_path_factory.mktemp("clips") / "mine.wav", voiced(5.0))


@pytest.fixture(scope="session")
def engines(store: Path, clip: Path) -> Any:
    """Return an adapter of a profile, changed or not, with the voice `mine`: each loaded once."""
    loaded: dict[str, tiny.Tiny] = {}

    def get(name: str, **changed: Any) -> tiny.Tiny:
        key = f"{name} {changed}"
        if key not in loaded:
            loaded[key] = tiny.Tiny()
            loaded[key].load(load("chatterbox").profiles[name] | changed, tiny.pinned(store))
            loaded[key].register("mine", clip, "")
        return loaded[key]

    return get


def _written(path: Path, samples: Any, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


def speak(engine: Chatterbox, text: str = TEXT, seed: int | None = 3, voice: str = "mine") -> list[Any]:
    return list(engine.synthesise(SpeechRequest(text, voice, seed=seed)))


def apart(one: Any, other: Any) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


# -- profiles --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["upstream", "in_service", "graphed", "graphed_whole"])
def test_what_a_profile_says_is_read_back(engines: Any, name: str) -> None:
    assert set(load("chatterbox").profiles) == {"upstream", "in_service", "graphed", "graphed_whole"}
    found = engines(name).read_back()
    wanted = load("chatterbox").profiles[name]
    assert {key: found[key] for key in wanted} == wanted
    assert found["watermark"] == "PerthImplicitWatermarker of resemble-perth 1.0.1"
    assert found["watermark_found"] > SURE


@pytest.mark.parametrize("name", ["graphed", "graphed_whole"])
def test_the_tokens_are_upstreams_for_a_seed(engines: Any, name: str) -> None:
    upstream, graphed = engines("upstream"), engines(name)
    for seed in (3, 4):
        speak(upstream, seed=seed)
        speak(graphed, seed=seed)
        assert len(upstream.speech_tokens) == 90
        assert graphed.speech_tokens == upstream.speech_tokens
        assert len(set(upstream.speech_tokens)) > 40, (
            "a model that says one thing over and over shows nothing"
        )
    before = graphed.speech_tokens
    speak(graphed, seed=3)
    assert graphed.speech_tokens != before


def test_every_setting_of_the_draw_counts_as_upstreams_does(engines: Any) -> None:
    own = {"exaggeration": 0.3, "cfg_weight": 0.3, "temperature": 0.6}
    more = {"repetition_penalty": 2.0, "min_p": 0.2, "temperature": 1.0}
    said = []
    for settings in (own, own | more):
        theirs, ours = engines("in_service", **settings), engines("graphed_whole", **settings)
        speak(theirs)
        speak(ours)
        assert ours.speech_tokens == theirs.speech_tokens
        said.append(ours.speech_tokens)
    speak(engines("upstream"))
    assert said[0] != said[1] != engines("upstream").speech_tokens


def test_graphed_in_one_piece_sounds_as_upstream(engines: Any) -> None:
    (theirs,), (ours,) = speak(engines("upstream")), speak(engines("graphed_whole"))
    assert len(theirs) == SECONDS * RATE
    assert engines("graphed_whole")._graphed.baked > 50, "no normalised weight was found"
    assert apart(ours, theirs) < 1e-5
    np.testing.assert_array_equal(speak(engines("graphed_whole"))[0], ours)


def test_a_stream_begins_with_its_first_second(engines: Any) -> None:
    engine = engines("graphed")
    pieces = speak(engine)
    assert len(pieces) == 3
    assert len(pieces[0]) == FIRST
    assert sum(map(len, pieces)) == SECONDS * RATE
    for piece, again in zip(pieces, speak(engine), strict=True):
        np.testing.assert_array_equal(piece, again)
    heard: list[int] = []
    for _ in engine.synthesise(SpeechRequest(TEXT, "mine", seed=3)):
        heard.append(len(engine.speech_tokens))
    assert heard == [28, 78, 90], "the text model ran on while a piece was being made"


def test_a_stream_has_no_step_where_its_pieces_meet(engines: Any) -> None:
    """No sample there is further from the one before it than speech has them anyway."""
    pieces = speak(engines("graphed"))
    wave = np.concatenate(pieces)
    steps = np.abs(np.diff(wave))
    usual = np.quantile(steps, 0.999)
    for seam in np.cumsum([len(piece) for piece in pieces])[:-1]:
        around = steps[seam - 20 : seam + 20]
        assert around.max() < 2.0 * usual, "a click"


def test_a_stream_of_less_than_a_second_is_one_piece(engines: Any) -> None:
    (piece,) = speak(engines("graphed"), tiny.text(2))
    assert len(piece) == 0.8 * RATE


def test_a_text_has_the_package_own_limit(engines: Any) -> None:
    assert Chatterbox().most_tokens(torch.zeros(2, 9)) == 1000


# -- the watermark -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["upstream", "in_service", "graphed", "graphed_whole"])
def test_every_take_is_marked_to_its_ends(engines: Any, name: str) -> None:
    engine = engines(name)
    wave = np.concatenate(speak(engine))
    for begin in (0.0, 0.8, 1.6, SECONDS - 1.0):
        stretch = wave[round(begin * RATE) :][:RATE]
        assert engine._watermark.detect(stretch) > SURE, f"nothing from {begin} s on"


def test_speech_without_the_mark_is_known(engines: Any) -> None:
    engine = engines("graphed")
    conds = engine._conds[engine._voices["mine"]]
    spoken = engine._graphed.decoder.tokens(conds.t3, _text_tokens(engine._package, TEXT), 90)
    raw = np.concatenate([piece for piece, _ in engine._graphed.speak(spoken, conds)])
    assert len(raw) == SECONDS * RATE
    assert engine._watermark.detect(raw) < 0.5
    with pytest.raises(RuntimeError, match="finds no watermark"):
        engine._watermark.require(raw)


def test_a_stream_is_marked_as_a_whole_utterance_would_be(engines: Any) -> None:
    watermark = engines("graphed")._watermark
    raw = np.concatenate(speak(engines("upstream")))
    whole = watermark.mark(raw) - raw
    stream = MarkedStream(watermark)
    cuts = [0, 20160, 68160, len(raw)]
    pieces = [stream.add(raw[begin:end], last=end == len(raw)) for begin, end in itertools.pairwise(cuts)]
    marked = np.concatenate(pieces)
    assert len(marked) == len(raw)
    assert len(pieces[0]) == 20160 - HELD
    assert apart(marked - raw, whole) < 0.35, "another mark altogether would be 1.4 apart"


def test_a_mark_that_loses_samples_is_an_error(engines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    watermark = engines("graphed")._watermark
    monkeypatch.setattr(watermark._inner, "apply_watermark", lambda signal, sample_rate: signal[:-1])
    with pytest.raises(SynthesisError, match="marked 99 of 100 samples"):
        watermark.mark(np.zeros(100, dtype=np.float32))


def test_another_watermarker_is_refused() -> None:
    with pytest.raises(RuntimeError, match="DummyWatermarker and not PerTh's"):
        Watermark(perth.DummyWatermarker(), "cpu")


def test_without_pkg_resources_the_engine_does_not_begin() -> None:
    """perth swallows the ImportError and leaves its watermarker None."""
    code = "import sys; sys.modules['pkg_resources'] = None; import bench.serving.chatterbox.package"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0
    assert "perth left its watermarker out" in done.stderr


# -- the arithmetic of the graphs ------------------------------------------------------------------------


def test_a_token_read_alone_is_read_as_in_a_full_pass(engines: Any) -> None:
    t3 = engines("upstream")._package.t3
    decoder = Decoder(t3, ChatterboxSettings())
    noise = torch.Generator().manual_seed(5)
    prompt = torch.randn(2, 40, t3.dim, generator=noise) * 0.05
    tokens = torch.randint(0, 6561, (12,), generator=noise)
    with torch.inference_mode():
        read = t3.speech_emb(tokens) + t3.speech_pos_emb.emb.weight[1:13]
        whole = t3.tfmr(
            inputs_embeds=torch.cat((prompt, read.expand(2, -1, -1)), 1), use_cache=False
        ).last_hidden_state
        heard, unheard = t3.speech_head(whole[:, 39:])
        wanted = heard + 0.5 * (heard - unheard)
        decoder.begin(prompt, 6561)
        found = [decoder._logits.clone()]
        for token in tokens:
            decoder._token.fill_(token)
            decoder.step()
            found.append(decoder._logits.clone())
    assert (torch.stack(found) - wanted).abs().max() < 5e-5


def test_an_utterance_without_an_end_is_an_error_and_not_a_crash(engines: Any) -> None:
    t3 = engines("upstream")._package.t3
    decoder = Decoder(t3, ChatterboxSettings(), cache=6)
    decoder.begin(torch.zeros(2, 4, t3.dim), 6561)
    decoder.step()
    decoder.step()
    with pytest.raises(SynthesisError, match="does not end within 6 tokens"):
        decoder.step()
    with pytest.raises(SynthesisError, match="6 tokens and the cache has 6"):
        decoder.begin(torch.zeros(2, 6, t3.dim), 6561)


# -- voices ----------------------------------------------------------------------------------------------


def test_a_clip_is_encoded_once_under_all_its_names(
    engines: Any, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines("graphed")
    asked: list[str] = []
    encode = engine._package.prepare_conditionals

    def counted(path: str, **named: Any) -> None:
        asked.append(path)
        encode(path, **named)

    monkeypatch.setattr(engine._package, "prepare_conditionals", counted)
    engine.register("mine too", clip, "words that it does not need")
    speak(engine, tiny.text(2), voice="mine too")
    speak(engine, tiny.text(2))
    assert asked == []
    engine.register("other", _written(tmp_path / "other.wav", voiced(6.0, pitch_hz=90.0)), "")
    assert len(asked) == 1
    assert engine.voices()[0] == PRESET
    assert {"mine", "mine too", "other"} <= set(engine.voices())


@pytest.mark.parametrize("name", ["upstream", "graphed_whole"])
def test_each_voice_has_conditionals_of_its_own(engines: Any, tmp_path: Path, name: str) -> None:
    engine = engines(name)
    text = tiny.text(3)
    alone = speak(engine, text)[0]
    engine.register("low", _written(tmp_path / "low.wav", voiced(5.0, pitch_hz=80.0)), "")
    other = speak(engine, text, voice="low")[0]
    assert not np.array_equal(alone, other)
    assert not np.array_equal(speak(engine, text, voice=PRESET)[0], other)
    np.testing.assert_array_equal(speak(engine, text)[0], alone)
    np.testing.assert_array_equal(speak(engine, text, voice="low")[0], other)


_LOUD = voiced(5.0)


@pytest.mark.parametrize(
    ("samples", "rate", "said"),
    [
        (np.tile(_LOUD, 7), RATE, "lasts 35.0 s"),
        (_LOUD[: 2 * RATE], RATE, "lasts 2.0 s"),
        (_LOUD * 0.003, RATE, "silent or far too quiet"),
        (_LOUD[::3], 8000, "8000 Hz"),
        (None, RATE, "cannot be read as audio"),
    ],
)
def test_a_wrong_reference_is_refused(
    engines: Any, tmp_path: Path, samples: Any, rate: int, said: str
) -> None:
    engine = engines("graphed")
    path = tmp_path / "clip.wav"
    if samples is None:
        path.write_bytes(b"not a sound")
    else:
        _written(path, samples, rate)
    before = engine.voices()
    with pytest.raises(BadReference, match=said):
        engine.register("wrong", path, "")
    assert engine.voices() == before
    with pytest.raises(UnknownVoice, match="no voice 'wrong'"):
        next(engine.synthesise(SpeechRequest(TEXT, "wrong")))


# -- requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["upstream", "graphed"])
def test_three_requests_at_once_are_spoken_in_turn(engines: Any, name: str) -> None:
    engine = engines(name)
    texts = [tiny.text(n) for n in (2, 3, 4)]
    alone = [np.concatenate(speak(engine, text)) for text in texts]
    together: dict[str, Any] = {}

    def ask(text: str) -> None:
        together[text] = np.concatenate(speak(engine, text))

    threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for text, wave in zip(texts, alone, strict=True):
        np.testing.assert_array_equal(together[text], wave)


def test_a_request_that_is_cancelled_leaves_nothing_behind(engines: Any) -> None:
    engine = engines("graphed")
    whole = speak(engine)
    pieces = engine.synthesise(SpeechRequest(tiny.text(19), "mine", seed=8))
    next(pieces)
    pieces.close()
    assert len(engine.speech_tokens) == 28
    for piece, same in zip(whole, speak(engine), strict=True):
        np.testing.assert_array_equal(piece, same)


@pytest.mark.parametrize("name", ["upstream", "graphed", "graphed_whole"])
def test_a_failure_fails_the_request_and_not_the_next(
    engines: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines(name)
    with monkeypatch.context() as broken:

        def fails(*_: Any, **__: Any) -> None:
            raise RuntimeError("out of memory")

        broken.setattr(engine._package.s3gen, "flow_inference", fails)
        with pytest.raises(SynthesisError, match="Chatterbox failed: RuntimeError: out of memory"):
            speak(engine)
    assert sum(map(len, speak(engine))) == SECONDS * RATE


def test_what_cannot_be_said(engines: Any) -> None:
    engine = engines("graphed")
    with pytest.raises(SynthesisError, match="the text is empty"):
        speak(engine, " ")
    with pytest.raises(UnknownVoice, match="no voice 'nobody'"):
        next(engine.synthesise(SpeechRequest(TEXT, "nobody")))
    with pytest.raises(SynthesisError, match="ask for speed 1"):
        next(engine.synthesise(SpeechRequest(TEXT, "mine", speed=1.25)))
    with pytest.raises(SynthesisError, match="nothing to say"):
        list(engine._graphed.speak(iter([6562]), engine._conds[engine._voices["mine"]]))


# -- weights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_weights_that_is_missing_is_named(store: Path, tmp_path: Path, name: str) -> None:
    _linked(store, tmp_path)
    (tiny.pinned(tmp_path)[tiny.REPO] / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is not there; run the install phase"):
        tiny.Tiny().load({}, tiny.pinned(tmp_path))


def _linked(store: Path, to: Path) -> None:
    shutil.copytree(tiny.pinned(store)[tiny.REPO], tiny.pinned(to)[tiny.REPO], copy_function=_link)


def _link(source: str, to: str) -> None:
    Path(to).symlink_to(source)


def test_code_in_the_voice_of_the_weights_is_not_run(store: Path, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "harm",))

    _linked(store, tmp_path)
    path = tiny.pinned(tmp_path)[tiny.REPO] / "conds.pt"
    path.unlink()
    torch.save({"t3": Harm(), "gen": {}}, path)
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        tiny.Tiny().load({}, tiny.pinned(tmp_path))
    assert not (tmp_path / "harm").exists()


def test_the_wrong_profile_is_refused(store: Path) -> None:
    for wrong, said in (
        ({"chunk": "stream"}, "chunk: Extra inputs"),
        ({"chunks": "stream"}, "settings of solver: graphed"),
        ({"flow_dtype": "float16"}, "settings of solver: graphed"),
        ({"cfg_weight": 0}, "cfg_weight: Input should be greater than 0"),
        ({"solver": "fast"}, "solver: Input should be 'package' or 'graphed'"),
    ):
        with pytest.raises(BadInput, match=said):
            tiny.Tiny().load(wrong, tiny.pinned(store))


# -- kernels, compiled -------------------------------------------------------------------------------------

_ROW, _N = "*fp32", "i32"
_GEMV = {"width": 1024, "columns": 1024, "tile": kernels._TILE}
COMPILED: dict[str, tuple[dict[str, str], dict[str, Any], int]] = {
    "_project": (
        dict.fromkeys(("x_at", "norm_at", "weight_at", "out_at"), _ROW) | {"rows": _N},
        _GEMV | {"batch": 2, "eps": 1e-5}, 4,
    ),
    "_gate": (
        dict.fromkeys(("x_at", "norm_at", "weight_at", "out_at"), _ROW) | {"rows": _N},
        _GEMV | {"batch": 2, "eps": 1e-5}, 4,
    ),
    "_add_product": (
        dict.fromkeys(("x_at", "y_at", "weight_at", "out_at"), _ROW) | {"rows": _N},
        _GEMV | {"width": 4096, "columns": kernels._COLUMNS}, 4,
    ),
    "_attend": (
        dict.fromkeys(("qkv_at", "cos_at", "sin_at", "kept_at"), _ROW)
        | {"place_at": "*i64", "out_at": _ROW, "places": _N, "scale": "fp32"},
        {"heads": 16, "d": 64, "tile": kernels._PLACES}, 8,
    ),
}  # fmt: skip
"""Chatterbox's: arguments, what is fixed when it is compiled, and warps, as the launchers have them."""
GB10_SHARED_BYTES = 99 * 1024
"""What a block may have of compute capability 12.x (CUDA's programming guide); of 9.0, 227 KiB."""


@pytest.mark.parametrize("capability", [90, 121])
@pytest.mark.parametrize("name", COMPILED)
def test_the_kernels_compile_for_hopper_and_gb10(
    name: str, capability: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Down to machine code, by the ptxas that comes with Triton; nothing is said of how fast it is."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    signature, fixed, warps = COMPILED[name]
    source = ASTSource(
        fn=getattr(kernels, name),
        signature=signature | dict.fromkeys(fixed, "constexpr"),
        constexprs=fixed,
        attrs={
            (i,): [["tt.divisibility", 16]] for i, kind in enumerate(signature.values()) if kind[0] == "*"
        },
    )
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})
    assert f".target sm_{capability}" in made.asm["ptx"]
    assert made.asm["cubin"][:4] == b"\x7fELF"
    assert made.metadata.shared <= GB10_SHARED_BYTES


def test_which_kernels_ran_is_read_back(engines: Any) -> None:
    assert engines("upstream").read_back()["kernels"] is None
    said = engines("graphed").read_back()["kernels"]
    assert set(said) == {"project", "gate", "add_product", "attend"}
    assert all(why.startswith("plain: ") for why in said.values()), "no GPU is here"


def test_what_pip_says_is_what_the_entry_declares() -> None:
    run = load("chatterbox").run
    assert run.kind == "engine" and run.unmet is not None
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    assert undeclared(lines, run.unmet) == []
    for package, wanted in run.unmet.items():
        for one in wanted:
            fewer = run.unmet | {package: [other for other in wanted if other != one]}
            assert len(undeclared(lines, fewer)) == 1, f"{package} does not want {one}"
