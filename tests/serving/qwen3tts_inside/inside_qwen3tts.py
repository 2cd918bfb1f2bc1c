"""The Qwen3-TTS adapter on upstream's real package and tiny random weights.

Run by test_qwen3tts.py in the environment that make_qwen3tts_venv.py builds; the name keeps the ordinary run from
collecting it, which has no torch.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from bench.catalog.loader import load
from bench.engines.image.pip_check import undeclared
from bench.errors import BadInput
from bench.serving.adapter import BadReference, SpeechRequest, SynthesisError, UnknownVoice
from bench.serving.qwen3tts import speaking
from bench.serving.qwen3tts.adapter import FILES, REPOS, Qwen3TTS
from bench.serving.qwen3tts.decoding import Decoder, Prompt
from bench.serving.qwen3tts.package import torch
from bench.serving.qwen3tts.settings import Qwen3TTSSettings
from tests.support import tiny_qwen3tts as tiny
from tests.support.voiced import voiced

ENTRIES = ("qwen3_tts_06b", "qwen3_tts_17b")
TEXT = tiny.text(6)
"""30 frames, 2.4 s: more than a stream's first three pieces."""
FRAMES = 30
RATE = 24000
FRAME = 1920
"""Samples of a frame."""
WORDS = "The kettle was hot before anybody came down for breakfast, and nobody could say who had put it on."
"""What the clips are said to say: more tokens than 4 s have frames, so that text is left to be read while speaking."""


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
    return _written(tmp_path_factory.mktemp("clips") / "mine.wav", voiced(4.0))


@pytest.fixture(scope="session")
def engines(store: Path, clip: Path) -> Any:
    """Return an adapter of a profile, in float32 and otherwise changed or not, with the voice `mine`; each is loaded
    once."""
    loaded: dict[str, tiny.Tiny] = {}

    def get(name: str, **changed: Any) -> tiny.Tiny:
        changed = {"dtype": "float32"} | changed
        key = f"{name} {changed}"
        if key not in loaded:
            loaded[key] = tiny.Tiny()
            loaded[key].load(load(ENTRIES[0]).profiles[name] | changed, tiny.pinned(store))
            loaded[key].register("mine", clip, WORDS)
        return loaded[key]

    return get


def _written(path: Path, samples: Any, rate: int = RATE) -> Path:
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


def speak(engine: Qwen3TTS, text: str = TEXT, seed: int | None = 3, voice: str = "mine") -> list[Any]:
    return list(engine.synthesise(SpeechRequest(text, voice, seed=seed)))


def apart(one: Any, other: Any) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


# -- profiles --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["upstream", "graphed", "graphed_whole"])
def test_what_a_profile_says_is_read_back(engines: Any, name: str) -> None:
    """As the entry has it, in bfloat16."""
    wanted = load(ENTRIES[0]).profiles[name]
    engine = engines(name, dtype="bfloat16")
    found = engine.read_back()
    assert {key: found[key] for key in wanted} == wanted
    assert (found["qwen_tts"], found["most_codes"]) == ("0.1.1", 8192)
    wave = np.concatenate(speak(engine, tiny.text(1)))
    assert wave.dtype == np.float32
    assert 0.02 < wave.std() < 0.5


def test_both_entries_have_the_same_profiles_and_these() -> None:
    small, large = (load(name) for name in ENTRIES)
    assert small.profiles == large.profiles
    assert set(small.profiles) == {"upstream", "graphed", "graphed_whole"}
    assert small.run.kind == large.run.kind == "engine"
    assert small.run.unmet == large.run.unmet
    for entry, repo in zip((small, large), REPOS, strict=True):
        assert {(file.repo, file.path) for file in entry.weights} == {(repo, name) for name in FILES}


@pytest.mark.parametrize("name", ["graphed", "graphed_whole"])
def test_the_codes_are_upstreams_for_a_seed(engines: Any, name: str) -> None:
    upstream, graphed = engines("upstream"), engines(name)
    text = tiny.text(3)
    said = []
    for seed in (3, 4):
        speak(upstream, text, seed=seed)
        speak(graphed, text, seed=seed)
        assert len(upstream.codes) == 15
        assert graphed.codes == upstream.codes
        heard = {code for frame in upstream.codes for code in frame}
        assert len(heard) > 150, "a model that says one thing over and over shows nothing"
        said.append(upstream.codes)
    assert said[0] != said[1]


@contextlib.contextmanager
def changed(engines: Any, settings: dict[str, Any], head: Callable[[Any], object]) -> Iterator[None]:
    """Change engines for a while: their settings, and by `head` the weights of the first codes."""
    patch = pytest.MonkeyPatch()
    heads = [engine._package.model.talker.codec_head.weight for engine in engines]
    kept = [each.detach().clone() for each in heads]
    with torch.no_grad():
        for each in heads:
            head(each)
    for engine in engines:
        patch.setattr(engine, "_settings", Qwen3TTSSettings.parse({"dtype": "float32"} | settings))
        if engine._decoder is not None:
            patch.setattr(engine._decoder, "_settings", engine._settings)
    yield
    patch.undo()
    with torch.no_grad():
        for each, before in zip(heads, kept, strict=True):
            each.copy_(before)


@pytest.fixture
def pair(engines: Any) -> tuple[tiny.Tiny, tiny.Tiny]:
    return engines("upstream"), engines("graphed_whole")


def test_every_setting_of_the_draw_counts_as_upstreams_does(pair: tuple[tiny.Tiny, tiny.Tiny]) -> None:
    """Each by itself changes what is said, and in both alike. A few codes come often, so that some come again."""
    said: list[Any] = []
    for settings in (
        {},
        {"temperature": 1.5},
        {"top_k": 2},
        {"repetition_penalty": 3.0},
        {"subtalker_temperature": 1.5},
        {"subtalker_top_k": 2},
        {"language": "Chinese"},
    ):
        with changed(pair, settings, lambda head: head[:5].mul_(4.0)):
            for engine in pair:
                speak(engine, tiny.text(2))
        assert pair[1].codes == pair[0].codes, settings
        assert pair[0].codes not in said, f"{settings} changes nothing"
        said.append(pair[0].codes)


def test_an_utterance_ends_where_upstream_ends_it(pair: tuple[tiny.Tiny, tiny.Tiny]) -> None:
    """The likeliest code is drawn; the end takes the place of one that is. Not of the first two: they cannot be it."""
    greedy = {"top_k": 1}
    with changed(pair, greedy, lambda head: None):
        speak(pair[0], tiny.text(3))
    firsts = [frame[0] for frame in pair[0].codes]
    ends = []
    for place in (0, 7):

        def ended(head: Any, code: int = firsts[place]) -> None:
            head[2150] = head[code]
            head[code] = 0.0

        with changed(pair, greedy, ended):
            for engine in pair:
                speak(engine, tiny.text(3))
        assert pair[1].codes == pair[0].codes
        ends.append(len(pair[0].codes))
    assert ends[1] == firsts.index(firsts[7]) == 7
    assert ends[0] >= 2


def test_graphed_in_one_piece_sounds_as_upstream(engines: Any) -> None:
    (theirs,), (ours,) = speak(engines("upstream")), speak(engines("graphed_whole"))
    assert len(ours) == len(theirs)
    assert apart(ours, theirs) < 1e-6
    np.testing.assert_array_equal(speak(engines("graphed_whole"))[0], ours)


def test_a_stream_begins_with_its_first_half_second(engines: Any) -> None:
    engine = engines("graphed")
    pieces = speak(engine)
    assert [len(piece) / FRAME for piece in pieces] == [6, 8, 12, 4]
    for piece, again in zip(pieces, speak(engine), strict=True):
        np.testing.assert_array_equal(piece, again)
    heard: list[int] = []
    for _ in engine.synthesise(SpeechRequest(TEXT, "mine", seed=3)):
        heard.append(len(engine.codes))
    assert heard == [6, 14, 26, 30], "the talker ran on while a piece was being made"


def test_a_stream_sounds_as_upstream_does(engines: Any) -> None:
    """Upstream leaves the reference's last sample in: it cuts by a share of the whole, and rounds down."""
    (theirs,), ours = speak(engines("upstream")), np.concatenate(speak(engines("graphed")))
    assert len(ours) == FRAMES * FRAME
    assert 0 <= len(theirs) - len(ours) <= 1
    assert apart(ours, theirs[-len(ours) :]) < 0.02
    alone = engines("graphed")._codec.decoder(torch.tensor(engines("graphed").codes).T[None])[0, 0]
    assert apart(alone.detach().numpy()[:FRAME], ours[:FRAME]) > 0.05, "the reference is not heard before it"


def test_a_long_stream_hears_no_further_back_than_the_package(engines: Any) -> None:
    """Its later pieces are 25 frames, each decoded with the 25 before it."""
    engine = engines("graphed")
    asked: list[int] = []
    decoder = engine._codec.decoder
    handle = decoder.register_forward_pre_hook(lambda _, given: asked.append(given[0].shape[-1]))
    pieces = speak(engine, tiny.text(24))
    handle.remove()
    assert [len(piece) // FRAME for piece in pieces] == [6, 8, 12, 18, 25, 25, 25, 1]
    assert asked == [31, 33, 37, 43, 50, 50, 50, 26]
    assert set(speaking.PIECES) == {6, 8, 12, 18, 25} and speaking.CONTEXT == 25


def test_a_stream_of_less_than_half_a_second_is_one_piece(engines: Any) -> None:
    (piece,) = speak(engines("graphed"), tiny.text(1))
    assert len(piece) == 5 * FRAME


def test_a_text_has_the_packages_own_limit() -> None:
    assert Qwen3TTS().most_codes("words") is None


def test_an_utterance_without_an_end_is_an_error_and_not_a_crash(engines: Any) -> None:
    talker = engines("upstream")._package.model.talker
    decoder = Decoder(talker, Qwen3TTSSettings(), places=8)
    one = torch.zeros(1, 1, talker.config.hidden_size)
    with pytest.raises(SynthesisError, match="does not end within 8 places"):
        list(decoder.frames(Prompt(one.expand(1, 5, -1), one, one), 100))
    assert len(list(decoder.frames(Prompt(one.expand(1, 5, -1), one, one), 4))) == 3
    with pytest.raises(SynthesisError, match="are 8 places and there are 8"):
        list(decoder.frames(Prompt(one.expand(1, 8, -1), one, one), 100))
    with pytest.raises(SynthesisError, match="are 9 places and there are 8"):
        list(decoder.frames(Prompt(one, one.expand(1, 9, -1), one), 100))


# -- voices ----------------------------------------------------------------------------------------------


def test_a_clip_is_encoded_once_under_all_its_names(
    engines: Any, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engines("graphed")
    asked: list[Any] = []
    encode = engine._package.create_voice_clone_prompt

    def counted(**named: Any) -> Any:
        asked.append(named)
        return encode(**named)

    monkeypatch.setattr(engine._package, "create_voice_clone_prompt", counted)
    engine.register("mine too", clip, WORDS)
    speak(engine, tiny.text(1), voice="mine too")
    speak(engine, tiny.text(1))
    assert asked == []
    engine.register("other words", clip, WORDS.replace("kettle", "pan"))
    engine.register("other", _written(tmp_path / "other.wav", voiced(4.0, pitch_hz=90.0)), WORDS)
    assert len(asked) == 2
    assert {"mine", "mine too", "other", "other words"} <= set(engine.voices())
    assert "" not in engine.voices(), "the voice of the warm-up is offered"


@pytest.mark.parametrize("name", ["upstream", "graphed_whole"])
def test_each_voice_has_a_prompt_of_its_own(engines: Any, tmp_path: Path, name: str) -> None:
    engine = engines(name)
    text = tiny.text(2)
    alone = speak(engine, text)[0]
    engine.register("low", _written(tmp_path / "low.wav", voiced(5.0, pitch_hz=80.0)), WORDS)
    other = speak(engine, text, voice="low")[0]
    assert not np.array_equal(alone, other)
    np.testing.assert_array_equal(speak(engine, text)[0], alone)
    np.testing.assert_array_equal(speak(engine, text, voice="low")[0], other)


_LOUD = voiced(4.0)


@pytest.mark.parametrize(
    ("samples", "rate", "words", "said"),
    [
        (np.tile(_LOUD, 9), RATE, WORDS * 6, "lasts 36.0 s"),
        (_LOUD[: 2 * RATE], RATE, WORDS, "lasts 2.0 s"),
        (_LOUD * 0.003, RATE, WORDS, "silent or far too quiet"),
        (_LOUD[::3], 8000, WORDS, "8000 Hz"),
        (_LOUD, RATE, " ", "give them"),
        (_LOUD, RATE, WORDS * 5, "which speech cannot have"),
        (None, RATE, WORDS, "cannot be read as audio"),
    ],
)
def test_a_wrong_reference_is_refused(
    engines: Any, tmp_path: Path, samples: Any, rate: int, words: str, said: str
) -> None:
    engine = engines("graphed")
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


def test_the_embedding_alone_needs_no_words(engines: Any, clip: Path) -> None:
    """And upstream says the same by it: as many samples, for nothing of the reference is decoded."""
    engine, theirs = engines("graphed", x_vector_only=True), engines("upstream", x_vector_only=True)
    engine.register("wordless", clip, "")
    wave = np.concatenate(speak(engine, tiny.text(2), voice="wordless"))
    (wanted,) = speak(theirs, tiny.text(2))
    assert engine.codes == theirs.codes
    assert len(wave) == len(wanted) == 10 * FRAME
    assert apart(wave, wanted) < 0.02
    speak(engines("graphed"), tiny.text(2))
    assert engines("graphed").codes != engine.codes


# -- requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["upstream", "graphed"])
def test_three_requests_at_once_are_spoken_in_turn(engines: Any, name: str) -> None:
    engine = engines(name)
    texts = [tiny.text(n) for n in (1, 2, 3)]
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


def test_without_a_seed_each_take_is_another(engines: Any) -> None:
    for name in ("upstream", "graphed"):
        one, other = (np.concatenate(speak(engines(name), tiny.text(1), seed=None)) for _ in range(2))
        assert not np.array_equal(one, other)


def test_a_request_that_is_cancelled_leaves_nothing_behind(engines: Any) -> None:
    engine = engines("graphed")
    whole = speak(engine)
    pieces = engine.synthesise(SpeechRequest(tiny.text(12), "mine", seed=8))
    next(pieces)
    pieces.close()
    assert len(engine.codes) == 6
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

        broken.setattr(engine._codec.decoder, "forward", fails)
        with pytest.raises(SynthesisError, match="Qwen3-TTS failed: RuntimeError: out of memory"):
            speak(engine, tiny.text(1))
    assert sum(map(len, speak(engine, tiny.text(1)))) // FRAME == 5


def test_what_cannot_be_said(engines: Any) -> None:
    engine = engines("graphed")
    with pytest.raises(SynthesisError, match="the text is empty"):
        speak(engine, " ")
    with pytest.raises(UnknownVoice, match="no voice 'nobody'"):
        next(engine.synthesise(SpeechRequest(TEXT, "nobody")))
    with pytest.raises(SynthesisError, match="ask for speed 1"):
        next(engine.synthesise(SpeechRequest(TEXT, "mine", speed=1.25)))
    with pytest.raises(SynthesisError, match="nothing to say"):
        list(speaking.pieces(engine._codec.decoder, iter([]), None))


def test_a_language_that_it_does_not_speak_is_an_error_when_it_is_loaded(store: Path) -> None:
    with pytest.raises(ValueError, match=r"Unsupported languages: \['Klingon'\]"):
        tiny.Tiny().load({"dtype": "float32", "language": "Klingon"}, tiny.pinned(store))


# -- weights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_the_weights_that_is_missing_is_named(store: Path, tmp_path: Path, name: str) -> None:
    (_linked(store, tmp_path) / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is not there; run the install phase"):
        tiny.Tiny().load({}, tiny.pinned(tmp_path))


def test_weights_of_another_model_are_refused(store: Path) -> None:
    with pytest.raises(FileNotFoundError, match="list neither"):
        tiny.Tiny().load({}, {"somebody/else": tiny.pinned(store)[tiny.REPOS["0.6b"]]})


def _linked(store: Path, to: Path) -> Path:
    folder = tiny.pinned(to)[tiny.REPOS["0.6b"]]
    shutil.copytree(tiny.pinned(store)[tiny.REPOS["0.6b"]], folder, copy_function=_link)
    return folder


def _link(source: str, to: str) -> None:
    Path(to).symlink_to(source)


def test_code_beside_the_weights_is_not_run(store: Path, tmp_path: Path) -> None:
    """A pickle in each folder, and a config.json of each that names a class of a file there."""

    class Harm:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "pickled",))

    folder = _linked(store, tmp_path)
    for each in (folder, folder / "speech_tokenizer"):
        torch.save({"talker.codec_head.weight": Harm()}, each / "pytorch_model.bin")
        (each / "harm.py").write_text(
            f"import pathlib\npathlib.Path({str(tmp_path / 'imported')!r}).touch()\n"
        )
        path = each / "config.json"
        config = json.loads(path.read_text())
        path.unlink()
        path.write_text(
            json.dumps(config | {"auto_map": {"AutoConfig": "harm.Harm", "AutoModel": "harm.Harm"}})
        )
    engine = tiny.Tiny()
    engine.load({"dtype": "float32"}, tiny.pinned(tmp_path))
    assert engine.read_back()["parameters"]["talker"] > 0
    assert not [path for path in tmp_path.iterdir() if path.name in ("pickled", "imported")]


def test_the_wrong_profile_is_refused(store: Path) -> None:
    for wrong, said in (
        ({"chunk": "stream"}, "chunk: Extra inputs"),
        ({"chunks": "stream"}, "a setting of solver: graphed"),
        ({"dtype": "float16"}, "dtype: Input should be 'bfloat16' or 'float32'"),
        ({"temperature": 0}, "temperature: Input should be greater than 0"),
        ({"solver": "fast"}, "solver: Input should be 'package' or 'graphed'"),
    ):
        with pytest.raises(BadInput, match=said):
            tiny.Tiny().load(wrong, tiny.pinned(store))


# -- the lock ----------------------------------------------------------------------------------------------


def test_what_is_stood_in_for_is_gone_once_the_package_is_there() -> None:
    code = (
        "import bench.serving.qwen3tts.package, sys, importlib.util as u; "
        "assert 'sox' not in sys.modules and u.find_spec('sox') is None"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_pip_says_is_what_the_entry_declares() -> None:
    run = load(ENTRIES[0]).run
    assert run.kind == "engine" and run.unmet is not None
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    assert undeclared(lines, run.unmet) == []
    for package, wanted in run.unmet.items():
        for one in wanted:
            fewer = run.unmet | {package: [other for other in wanted if other != one]}
            assert len(undeclared(lines, fewer)) == 1, f"{package} does not want {one}"
