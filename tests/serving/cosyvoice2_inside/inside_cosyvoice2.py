"""The CosyVoice 2 adapter on upstream's real code and a tiny checkpoint.

Run by test_cosyvoice2.py in the environment that make_cosyvoice2_venv.py builds; the name keeps the ordinary run from
collecting it, which has no torch.
"""

import gc
import itertools
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import triton
from transformers import Qwen2Config, Qwen2ForCausalLM, WhisperFeatureExtractor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from bench.catalog.loader import load
from bench.errors import BadInput
from bench.serving.adapter import BadReference, SpeechRequest, SynthesisError, UnknownVoice
from bench.serving.cosyvoice2 import adapter, kernels, package, standins
from bench.serving.cosyvoice2.adapter import FILES, PRESET, CosyVoice2
from bench.serving.cosyvoice2.decoding import Decoder, draw
from bench.serving.cosyvoice2.package import torch
from bench.serving.cosyvoice2.upstream import HOP, OwnDraws, step_without_mask
from tests.support import tiny_cosyvoice2 as tiny
from tests.support.voiced import voiced

SPOKEN = "This is the voice that everybody should hear in this test."
TEXT = tiny.text(4)
"""80 speech tokens, 3.2 s: more than a first and a second chunk."""
RATE = 24000


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
    return _written(tmp_path_factory.mktemp("clips") / "whole.wav", voiced(4.0))


@pytest.fixture(scope="session")
def engines(store: Path, clip: Path) -> Any:
    """Return an adapter of a profile, changed or not, with the voice `mine`: each loaded once."""
    loaded: dict[str, CosyVoice2] = {}

    def get(name: str, **changed: Any) -> CosyVoice2:
        key = f"{name} {changed}"
        if key not in loaded:
            loaded[key] = CosyVoice2()
            loaded[key].load(load("cosyvoice2").profiles[name] | changed, tiny.pinned(store))
            loaded[key].register("mine", clip, SPOKEN)
        return loaded[key]

    return get


def _written(path: Path, samples: Any, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


def speak(engine: CosyVoice2, text: str = TEXT, seed: int | None = 3, speed: float = 1.0) -> list[Any]:
    return list(engine.synthesise(SpeechRequest(text, "mine", speed=speed, seed=seed)))


def first(engine: CosyVoice2, text: str = TEXT) -> Any:
    """Return the first chunk, and hear no more of the request."""
    pieces = engine.synthesise(SpeechRequest(text, "mine", seed=3))
    try:
        return next(pieces)
    finally:
        pieces.close()  # type: ignore[attr-defined]


def seconds(pieces: list[Any]) -> list[float]:
    return [round(len(piece) / RATE, 2) for piece in pieces]


def as_in_a_fresh_process(engine: CosyVoice2) -> None:
    engine._package.model.token_hop_len = HOP


def left_over(engine: CosyVoice2) -> dict[str, Any]:
    inner = engine._package.model
    kept = {k: dict(getattr(inner, k)) for k in ("tts_speech_token_dict", "llm_end_dict", "hift_cache_dict")}
    return {k: v for k, v in kept.items() if v}


# -- profiles --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(load("cosyvoice2").profiles))
def test_what_a_profile_says_is_read_back(engines: Any, name: str) -> None:
    found = engines(name).read_back()
    wanted = load("cosyvoice2").profiles[name]
    assert {key: found[key] for key in wanted} == wanted
    assert found["text_frontend"] == "wetext"
    assert found["encoder_providers"] == {
        encoder: ["CPUExecutionProvider"] for encoder in ("campplus", "speech_tokenizer")
    }


def test_upstreams_first_request_flatters_it(engines: Any) -> None:
    """The hop leak: what the first request of a process is given, none after it is given again."""
    engine = engines("upstream")
    as_in_a_fresh_process(engine)
    assert seconds(speak(engine)) == [0.84, 2.0, 0.36]
    # Two chunks were spoken, so the third would have been 100 tokens, and now the first one is to be.
    later = [seconds(speak(engine)) for _ in range(2)]
    assert later == [[3.2], [3.2]], "one piece: nothing streams any more"


def test_fixed_begins_alike_in_the_first_second_and_tenth_request(engines: Any) -> None:
    engine = engines("fixed")
    takes = {}
    for number in range(1, 11):
        if number in (1, 2, 10):
            takes[number] = speak(engine)
        else:
            first(engine, tiny.text(3))
    assert seconds(takes[1]) == [0.84, 2.0, 0.36]
    for number in (2, 10):
        for piece, same in zip(takes[1], takes[number], strict=True):
            np.testing.assert_array_equal(piece, same)


def test_the_tokens_are_those_of_upstreams_first_request(engines: Any) -> None:
    ways = {
        "upstream": engines("upstream", generators="per_stage"),
        "fixed": engines("fixed"),
        "graphed": engines("graphed"),
        "graphed_fp32": engines("graphed_fp32"),
    }
    for seed in (3, 4):
        said = {}
        for name, engine in ways.items():
            as_in_a_fresh_process(engine)
            speak(engine, seed=seed)
            said[name] = engine.speech_tokens
            assert len(said[name]) == 80
        assert said["fixed"] == said["upstream"]
        assert said["graphed"] == said["upstream"]
        assert said["graphed_fp32"] == said["upstream"]
    assert len(set(said["upstream"])) > 40, "a model that says one thing over and over shows nothing"


def test_another_seed_says_something_else(engines: Any) -> None:
    engine = engines("graphed_fp32")
    speak(engine, seed=3)
    before = engine.speech_tokens
    speak(engine, seed=4)
    assert engine.speech_tokens != before


@pytest.mark.parametrize(("name", "difference"), [("graphed_fp32", 1e-5), ("graphed", 0.02)])
def test_graphed_sounds_as_fixed(engines: Any, name: str, difference: float) -> None:
    plain, graphed = speak(engines("fixed")), speak(engines(name))
    assert seconds(graphed) == seconds(plain)
    wave, same = np.concatenate(plain), np.concatenate(graphed)
    assert np.linalg.norm(same - wave) / np.linalg.norm(wave) < difference
    for number in (2, 3):
        for piece, again in zip(graphed, speak(engines(name)), strict=True):
            np.testing.assert_array_equal(piece, again, err_msg=f"request {number}")


def test_in_graphed_the_language_model_waits_for_the_first_chunk(
    engines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines("graphed_fp32")
    inner = engine._package.model
    there: list[int] = []
    make = inner.token2wav

    def watched(*arguments: Any, **named: Any) -> Any:
        made = make(*arguments, **named)
        there.append(len(engine.speech_tokens))
        return made

    monkeypatch.setattr(inner, "token2wav", watched)
    speak(engine)
    assert there[0] == 28, "it ran on while the first chunk was being made"
    assert there[-1] == 80


# -- the arithmetic of the graphs ------------------------------------------------------------------------


def test_a_token_read_alone_is_read_as_in_a_full_pass(engines: Any) -> None:
    llm = engines("fixed")._package.model.llm
    decoder = Decoder(llm, torch.float32)
    generator = torch.Generator().manual_seed(5)
    prompt = torch.randn(1, 40, llm.llm_input_size, generator=generator) * 0.02
    tokens = torch.randint(0, 6561, (12,), generator=generator).tolist()
    with torch.inference_mode():
        read = llm.speech_embedding.weight[tokens][None]
        whole = llm.llm.model.model(
            inputs_embeds=torch.cat((prompt, read), 1), use_cache=False
        ).last_hidden_state
        wanted = llm.llm_decoder(whole[0, 39:]).log_softmax(-1)
        decoder.may_stop(True)
        decoder.begin(prompt)
        found = [decoder.scores()]
        for token in tokens:
            decoder.step(token)
            found.append(decoder.scores())
    assert (torch.stack(found)[:, :6561] - wanted[:, :6561]).abs().max() < 2e-5
    values, places = decoder.best()
    sure = wanted[-1].softmax(-1).topk(25)
    np.testing.assert_allclose(values, sure.values, atol=1e-6)
    assert places == sure.indices.tolist()


def test_the_end_may_be_forbidden(engines: Any) -> None:
    decoder = Decoder(engines("fixed")._package.model.llm, torch.float32)
    decoder.may_stop(False)
    decoder.begin(torch.zeros(1, 4, decoder._speech.shape[1]))
    assert decoder.scores()[6561] == -float("inf")


def test_a_sentence_without_an_end_is_an_error_and_not_a_crash(engines: Any) -> None:
    decoder = Decoder(engines("fixed")._package.model.llm, torch.float32, cache=6)
    decoder.begin(torch.zeros(1, 4, decoder._speech.shape[1]))
    decoder.step(1)
    decoder.step(2)
    with pytest.raises(SynthesisError, match="does not end within 6 tokens"):
        decoder.step(3)
    with pytest.raises(SynthesisError, match="6 tokens and the cache has 6"):
        decoder.begin(torch.zeros(1, 6, decoder._speech.shape[1]))


class _Scores:
    """Stands for a `Decoder` that has these scores, logarithms of probabilities, (n,)."""

    def __init__(self, scores: Any) -> None:
        self._scores = scores

    def scores(self) -> Any:
        return self._scores.clone()

    def best(self) -> tuple[Any, list[int]]:
        best = self._scores.softmax(0).topk(25)
        return best.values.numpy(), best.indices.tolist()


def test_a_token_is_drawn_as_upstream_draws_it(engines: Any) -> None:
    sampling = engines("upstream")._package.model.llm.sampling
    theirs, ours = OwnDraws(sampling), torch.Generator()
    noise = torch.Generator().manual_seed(11)
    repeated = 0
    for number in range(300):
        sharpness = 0.5 + number % 7
        scores = (torch.randn(6564, generator=noise) * sharpness).log_softmax(0)
        spoken = scores.topk(25).indices[: number % 11].tolist()
        theirs.generator.manual_seed(number)
        ours.manual_seed(number)
        wanted = theirs(scores.clone(), spoken, 25)
        assert draw(_Scores(scores), spoken, ours) == wanted  # type: ignore[arg-type]
        repeated += torch.equal(theirs.generator.get_state(), ours.get_state()) and bool(spoken)
    assert repeated > 250, "the generators must have gone the same way"


def test_the_mask_of_length_one_is_not_needed_by_this_transformers() -> None:
    """Weight-free: a token at a time without a mask is a full pass, whichever version is installed."""
    torch.manual_seed(0)
    config = Qwen2Config(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                         num_key_value_heads=2, vocab_size=100)  # fmt: skip

    class Encoder:
        model = Qwen2ForCausalLM(config).eval()

    x, cache, found = torch.randn(1, 30, 64), None, []
    with torch.no_grad():
        whole = Encoder.model(inputs_embeds=x, output_hidden_states=True).hidden_states[-1]
        for start, end in [(0, 20)] + [(n, n + 1) for n in range(20, 30)]:
            hidden, cache = step_without_mask(Encoder, x[:, start:end], None, cache)
            found.append(hidden)
    assert (torch.cat(found, 1) - whole).abs().max() < 1e-5


# -- voices ----------------------------------------------------------------------------------------------


def test_a_clip_is_encoded_once_under_all_its_names(
    engines: Any, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines("fixed")
    frontend = engine._package.frontend
    asked: list[str] = []
    for name in ("campplus_session", "speech_tokenizer_session"):
        session = getattr(frontend, name)

        class Counted:
            def __init__(self, inner: Any, name: str) -> None:
                self._inner, self._name = inner, name

            def __getattr__(self, attribute: str) -> Any:
                return getattr(self._inner, attribute)

            def run(self, *arguments: Any) -> Any:
                asked.append(self._name)
                return self._inner.run(*arguments)

        monkeypatch.setattr(frontend, name, Counted(session, name))
    engine.register("mine too", clip, f"  {SPOKEN}\n")
    first(engine)
    assert asked == []
    engine.register("other", _written(tmp_path / "other.wav", voiced(5.0)), SPOKEN)
    assert sorted(asked) == ["campplus_session", "speech_tokenizer_session"]
    assert engine.voices()[0] == PRESET
    assert {"mine", "mine too", "other"} <= set(engine.voices())


def test_another_clip_is_another_voice(engines: Any, tmp_path: Path) -> None:
    engine = engines("fixed")
    engine.register("lower", _written(tmp_path / "lower.wav", voiced(4.0) * 0.5), SPOKEN)
    one = next(engine.synthesise(SpeechRequest(TEXT, "mine", seed=3)))
    other = next(engine.synthesise(SpeechRequest(TEXT, "lower", seed=3)))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "found_s", "tokens"), [("upstream", 4.3, 107), ("fixed", 5.0, 125), ("graphed_fp32", 5.0, 125)]
)
def test_a_clip_is_filled_up_to_whole_seconds(
    engines: Any, tmp_path: Path, name: str, found_s: float, tokens: int
) -> None:
    engine = engines(name)
    engine.register("4.3 s", _written(tmp_path / "clip.wav", voiced(4.3)), SPOKEN)
    next(engine.synthesise(SpeechRequest(TEXT, "4.3 s", seed=3)))
    assert engine.read_back()["reference_s"] == found_s
    assert engine.read_back()["reference_tokens"] == tokens


_LOUD = voiced(4.0)


@pytest.mark.parametrize(
    ("samples", "rate", "words", "said"),
    [
        (_LOUD, RATE, " \n", "has no transcript"),
        (np.tile(_LOUD, 8), RATE, SPOKEN, "lasts 32.0 s"),
        (_LOUD[: 2 * RATE], RATE, SPOKEN, "lasts 2.0 s"),
        (_LOUD * 0.003, RATE, SPOKEN, "silent or far too quiet"),
        (_LOUD[::3], 8000, SPOKEN, "8000 Hz"),
        (_LOUD, RATE, "Yes.", "1 bytes per second"),
        (_LOUD, RATE, SPOKEN * 4, "58 bytes per second"),
        (None, RATE, SPOKEN, "cannot be read as audio"),
    ],
)
def test_a_wrong_reference_is_refused(
    engines: Any, tmp_path: Path, samples: Any, rate: int, words: str, said: str
) -> None:
    engine = engines("fixed")
    path = tmp_path / "clip.wav"
    if samples is None:
        path.write_bytes(b"not a sound")
    else:
        _written(path, samples, rate)
    before = engine.voices()
    with pytest.raises(BadReference, match=said):
        engine.register("wrong", path, words)
    assert engine.voices() == before
    with pytest.raises(UnknownVoice, match="no voice 'wrong'"):
        next(engine.synthesise(SpeechRequest(TEXT, "wrong")))


# -- requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fixed", "graphed_fp32"])
def test_three_requests_at_once_are_spoken_in_turn(engines: Any, name: str) -> None:
    engine = engines(name)
    texts = [tiny.text(n) for n in (3, 4, 5)]
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


@pytest.mark.parametrize("name", ["upstream", "fixed", "graphed_fp32"])
def test_a_request_that_is_cancelled_leaves_nothing_behind(engines: Any, name: str) -> None:
    engine = engines(name)
    as_in_a_fresh_process(engine)
    whole = speak(engine) if name != "upstream" else []
    as_in_a_fresh_process(engine)
    running = threading.active_count()
    assert len(first(engine, tiny.text(12))) == 0.84 * RATE
    gc.collect()
    assert threading.active_count() == running, "the language model's thread goes on"
    assert len(engine.speech_tokens) < 240, "it was spoken to its end"
    assert left_over(engine) == {}
    for piece, same in zip(whole, speak(engine) if whole else [], strict=True):
        np.testing.assert_array_equal(piece, same)
    assert left_over(engine) == {}


@pytest.mark.parametrize("spoken", [0, 40])
@pytest.mark.parametrize("name", ["upstream", "fixed", "graphed_fp32"])
def test_a_failure_in_the_language_models_thread_fails_the_request(
    engines: Any, name: str, spoken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to itself upstream waits for ever."""
    engine = engines(name)
    as_in_a_fresh_process(engine)
    inference = engine._thread._speak

    def fails(*arguments: Any, **named: Any) -> Iterator[int]:
        yield from itertools.islice(inference(*arguments, **named), spoken)
        raise RuntimeError("out of memory")

    heard: list[Any] = []
    with monkeypatch.context() as broken:
        broken.setattr(engine._thread, "_speak", fails)
        with pytest.raises(SynthesisError, match="CosyVoice failed: RuntimeError: out of memory"):
            for piece in engine.synthesise(SpeechRequest(TEXT, "mine", seed=3)):
                heard.append(piece)
    assert len(heard) <= (spoken > 0)
    assert left_over(engine) == {}
    as_in_a_fresh_process(engine)
    assert sum(seconds(speak(engine))) == pytest.approx(3.2)


@pytest.mark.parametrize("name", ["fixed", "graphed_fp32"])
def test_at_another_speed_a_sentence_comes_in_one_piece(engines: Any, name: str) -> None:
    pieces = speak(engines(name), speed=1.25)
    assert seconds(pieces) == [2.56]


def test_what_cannot_be_said(engines: Any) -> None:
    with pytest.raises(SynthesisError, match="the text is empty"):
        speak(engines("fixed"), " ")
    with pytest.raises(UnknownVoice, match="no voice 'nobody'"):
        next(engines("fixed").synthesise(SpeechRequest(TEXT, "nobody")))


def test_numbers_are_said_and_not_skipped(engines: Any) -> None:
    said = engines("fixed")._package.frontend.text_normalize("It costs $5.20.", split=True)
    assert said == ["It costs five dollars twenty cents."] or "five" in said[0]
    assert not any(digit in said[0] for digit in "0123456789")


# -- weights and what is imported ------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_weights_that_is_missing_is_named(store: Path, tmp_path: Path, name: str) -> None:
    _copy(store, tmp_path)
    (tiny.pinned(tmp_path)[tiny.REPO] / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is not there; run the install phase"):
        CosyVoice2().load(load("cosyvoice2").profiles["fixed"], tiny.pinned(tmp_path))


@pytest.mark.parametrize("name", [name for name in FILES if not name.endswith("generation_config.json")])
def test_a_file_of_the_weights_that_is_wrong_is_not_loaded(store: Path, tmp_path: Path, name: str) -> None:
    """Each file is also held to its hash by the store; this is what stands behind that."""
    _copy(store, tmp_path)
    path = tiny.pinned(tmp_path)[tiny.REPO] / name
    path.unlink()
    path.write_bytes(b"\x00\xff wrong")
    with pytest.raises(Exception) as caught:
        CosyVoice2().load(load("cosyvoice2").profiles["fixed"], tiny.pinned(tmp_path))
    assert not isinstance(caught.value, FileNotFoundError)


def _copy(store: Path, to: Path) -> None:
    shutil.copytree(tiny.pinned(store)[tiny.REPO], tiny.pinned(to)[tiny.REPO])


def test_code_in_a_checkpoint_is_not_run(store: Path, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "harm",))

    _copy(store, tmp_path)
    path = tiny.pinned(tmp_path)[tiny.REPO] / "flow.pt"
    path.unlink()
    torch.save({"x": Harm()}, path)
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        CosyVoice2().load(load("cosyvoice2").profiles["fixed"], tiny.pinned(tmp_path))
    assert not (tmp_path / "harm").exists()


def test_a_recipe_that_names_anything_else_is_not_loaded(store: Path, tmp_path: Path) -> None:
    _copy(store, tmp_path)
    path = tiny.pinned(tmp_path)[tiny.REPO] / "cosyvoice2.yaml"
    harm = f"harm: !apply:pathlib.Path.touch [!new:pathlib.Path ['{tmp_path / 'harm'}']]\n"
    text = path.read_text()
    path.unlink()
    path.write_text(harm + text)
    with pytest.raises(
        BadInput, match=r"cosyvoice2.yaml:1: !apply:pathlib.Path.touch is not part of CosyVoice 2"
    ):
        CosyVoice2().load(load("cosyvoice2").profiles["fixed"], tiny.pinned(tmp_path))
    assert not (tmp_path / "harm").exists()


def test_what_is_stood_in_for_is_gone_once_upstream_is_imported() -> None:
    assert package.ABSENT, "the environment holds none of them"
    for name in package.ABSENT:
        assert name not in sys.modules
    with pytest.raises(standins.NotInstalled, match="snapshot_download is not installed"):
        sys.modules["cosyvoice.cli.cosyvoice"].snapshot_download("somewhere")


def test_the_log_mel_is_whispers() -> None:
    wave = voiced(3.0)[::1][: 3 * 16000].astype(np.float32)
    theirs = WhisperFeatureExtractor(feature_size=128, chunk_length=3)(
        wave, sampling_rate=16000, return_tensors="np"
    )
    ours = package.log_mel_spectrogram(torch.from_numpy(wave)[None], n_mels=128)
    np.testing.assert_allclose(ours[0].numpy(), theirs["input_features"][0], atol=2e-4)


def test_the_wrong_profile_is_refused(store: Path) -> None:
    for wrong, said in (
        ({"hopp": "reset"}, "hopp: Extra inputs"),
        ({"hop": "never"}, "hop: Input should be 'leaks' or 'reset'"),
        ({"solver": "graphed"}, "solver: graphed wants hop: reset"),
        ({"llm_dtype": "bfloat16"}, "settings of solver: graphed"),
    ):
        with pytest.raises(BadInput, match=said):
            CosyVoice2().load(wrong, tiny.pinned(store))


def test_a_frontend_that_fell_back_is_refused(engines: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engines("fixed")
    with monkeypatch.context() as fallen:
        fallen.setattr(engine._package.frontend, "text_frontend", "")
        with pytest.raises(RuntimeError, match="is '' and not wetext"):
            engine._check_frontend()
    with monkeypatch.context() as moved:
        moved.setattr(adapter, "_CPU", ["CUDAExecutionProvider"])
        with pytest.raises(RuntimeError, match="not on the CPU"):
            engine._check_frontend()


# -- kernels, compiled -------------------------------------------------------------------------------------

_ROW, _N = "*bf16", "i32"
_GEMV = {"width": 896, "columns": 1024, "tile": kernels._ROWS}
COMPILED: dict[str, tuple[dict[str, str], dict[str, Any], int]] = {
    "_project": (
        dict.fromkeys(("x_at", "norm_at", "weight_at", "bias_at", "out_at"), _ROW) | {"rows": _N},
        _GEMV | {"eps": 1e-6}, 4,
    ),
    "_gate": (
        dict.fromkeys(("x_at", "norm_at", "weight_at", "out_at"), _ROW) | {"rows": _N}, _GEMV | {"eps": 1e-6}, 4,
    ),
    "_add_product": (
        dict.fromkeys(("x_at", "y_at", "weight_at", "out_at"), _ROW) | {"rows": _N},
        _GEMV | {"width": 4864, "columns": kernels._COLUMNS}, 4,
    ),
    "_attend": (
        dict.fromkeys(("qkv_at", "cos_at", "sin_at", "kept_at"), _ROW)
        | {"place_at": "*i64", "out_at": _ROW, "places": _N, "scale": "fp32"},
        {"heads": 14, "kv_heads": 2, "d": 64, "tile": kernels._PLACES}, 8,
    ),
}  # fmt: skip
"""CosyVoice2-0.5B's: arguments, what is fixed when it is compiled, and warps, as the launchers have them."""
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
    assert engines("fixed").read_back()["kernels"] is None
    said = engines("graphed_fp32").read_back()["kernels"]
    assert set(said) == {"project", "gate", "add_product", "attend"}
    assert all(why.startswith("plain: ") for why in said.values()), "no GPU is here"
