"""Chatterbox behind the engine server, on the package's own `ChatterboxTTS`.

A voice is conditioned once, when it is registered, and keeps `Conditionals` of its own: the package has one for all,
which each `generate()` with a clip makes anew and another `exaggeration` rewrites. Requests are spoken in turn.
"""

import importlib.metadata
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.serving.adapter import (
    BadReference,
    LoadedInfo,
    Samples,
    SpeechRequest,
    SynthesisError,
    UnknownVoice,
)
from bench.serving.chatterbox import reference
from bench.serving.chatterbox.graphed import Graphed
from bench.serving.chatterbox.package import torch, transformers, tts
from bench.serving.chatterbox.settings import ChatterboxSettings
from bench.serving.chatterbox.watermark import RATE_HZ, MarkedStream, Watermark
from bench.serving.words import identity

REPO = "ResembleAI/chatterbox"
FILES = ("ve.safetensors", "t3_cfg.safetensors", "s3gen.safetensors", "tokenizer.json", "conds.pt")
"""What the package reads of its weights (tts.py:177)."""
PRESET = "builtin"
"""The package's own voice, conds.pt."""
MOST_TOKENS = 1000
"""Of one utterance, 40 s: `generate()`'s own limit (tts.py:249), where it ends without a word."""
_WARM_UP = "Good morning, how did you sleep last night?"
"""Long enough for a second piece of a stream."""


class Chatterbox:
    """Adapter for resemble-ai/chatterbox."""

    sample_rate_hz: int = RATE_HZ

    def __init__(self) -> None:
        """Make an adapter with nothing loaded."""
        self._turn = threading.Lock()
        self._voices: dict[str, str] = {}
        self._conds: dict[str, Any] = {}
        self._settings = ChatterboxSettings()
        self._package: Any = None
        self._watermark: Watermark
        self._graphed: Graphed | None = None
        self._t3_infer: Any = None
        self._found: float | None = None
        self.speech_tokens: list[int] = []
        """What the latest request was spoken from."""

    # -- loading -------------------------------------------------------------------------------------------

    def load(self, profile: Mapping[str, Any], weights: Mapping[str, Path]) -> LoadedInfo:
        """Load all parts from local files, then speak one sentence and find the watermark in it.

        Raises:
            BadInput: the profile is wrong.
            FileNotFoundError: a file of the weights is not in the folder of the pinned revision.
            RuntimeError: the watermarker is not PerTh's, or its mark is not in what was spoken.
        """
        self._settings = settings = ChatterboxSettings.parse(profile)
        folder = _folder(weights)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._package = package = tts.ChatterboxTTS.from_local(folder, device)
        self._watermark = Watermark(
            package.watermarker, device if settings.watermark_on == "model" else "cpu"
        )
        self._t3_infer, package.t3.inference = package.t3.inference, self._infer
        if settings.solver == "graphed":
            self._graphed = Graphed(package, settings)
        package.conds.t3.emotion_adv = torch.full((1, 1, 1), settings.exaggeration, device=device)
        self._keep(PRESET, PRESET, package.conds)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        spoken = list(self.synthesise(SpeechRequest(_WARM_UP, PRESET, seed=0)))
        self._found = self._watermark.require(np.concatenate(spoken))
        return LoadedInfo(
            model="chatterbox",
            revision=f"chatterbox-tts {_version('chatterbox-tts')}, weights {folder.name}",
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            profile=self.read_back(),
        )

    # -- voices --------------------------------------------------------------------------------------------

    def voices(self) -> list[str]:
        """Return the package's own voice, then the registered ones."""
        return list(self._voices)

    def register(self, name: str, audio: Path, text: str) -> None:
        """Condition the model on the clip once; one that is known under another name is not encoded again.

        Raises:
            BadReference: see `reference.check`.
        """
        voice = identity(audio, "")
        if voice not in self._conds:
            reference.check(audio)
            with self._turn:
                try:
                    self._package.prepare_conditionals(str(audio), exaggeration=self._settings.exaggeration)
                except OSError as error:
                    raise BadReference(f"the reference cannot be read: {error}") from error
                self._keep(name, voice, self._package.conds)
        self._voices[name] = voice

    def _keep(self, name: str, voice: str, conds: Any) -> None:
        """Keep a voice's conditionals, and capture what is captured for a voice."""
        self._conds[voice], self._voices[name] = conds, voice
        if self._graphed is not None:
            self._graphed.prepare(conds)

    # -- speech --------------------------------------------------------------------------------------------

    def synthesise(self, request: SpeechRequest) -> Iterator[Samples]:
        """Yield the utterance, watermarked, in one piece or as it comes.

        Raises:
            UnknownVoice: before anything is yielded.
            SynthesisError: the text has nothing to say, another speed than 1 was asked for, or the package failed.
        """
        if request.voice not in self._voices:
            raise UnknownVoice(f"no voice '{request.voice}'; voices: {', '.join(self._voices)}")
        if not request.text.strip():
            raise SynthesisError("the text is empty")
        if request.speed != 1.0:
            raise SynthesisError("Chatterbox speaks at one speed; ask for speed 1")
        with self._turn:
            self._package.conds = self._conds[self._voices[request.voice]]
            if request.seed is None:
                torch.seed()
            else:
                torch.manual_seed(request.seed)
            if self._graphed is not None:
                self._graphed.decoder.generator.manual_seed(torch.initial_seed())
            self.speech_tokens = []
            try:
                yield from self._whole(request.text) if self._streams is None else self._pieces(request.text)
            except SynthesisError:
                raise
            except Exception as error:
                raise SynthesisError(f"Chatterbox failed: {type(error).__name__}: {error}") from error

    def _whole(self, text: str) -> Iterator[Samples]:
        """Yield what the package's own `generate()` returns, which marks it."""
        if self._graphed is not None:
            self._graphed.solve.begin(growing=False)
        settings = self._settings
        wave = self._package.generate(
            text,
            exaggeration=settings.exaggeration,
            cfg_weight=settings.cfg_weight,
            temperature=settings.temperature,
            repetition_penalty=settings.repetition_penalty,
            min_p=settings.min_p,
        )
        yield np.ascontiguousarray(wave[0].numpy())

    def _pieces(self, text: str) -> Iterator[Samples]:
        """Yield the pieces of a stream, each marked."""
        assert self._streams is not None
        package = self._package
        stream = MarkedStream(self._watermark)
        tokens = self._tokens(self._streams, package.conds.t3, _text_tokens(package, text))
        for piece, last in self._streams.speak(tokens, package.conds):
            if (marked := stream.add(piece, last=last)).size:
                yield marked

    def most_tokens(self, text_tokens: Any) -> int:
        """Return how many tokens of speech a text may have: as many as `generate()` allows any."""
        del text_tokens
        return MOST_TOKENS

    def _infer(self, **asked: Any) -> Any:
        """Stand for `T3.inference`: the package's own or the graphed one, its tokens noted."""
        text_tokens = asked["text_tokens"]
        if self._graphed is None:
            tokens = self._t3_infer(**asked | {"max_new_tokens": self.most_tokens(text_tokens)})
            self.speech_tokens = tokens[0].tolist()
            return tokens
        said = list(self._tokens(self._graphed, asked["t3_cond"], text_tokens))
        self._graphed.decoder.hand_over()
        return torch.tensor([said], device=text_tokens.device)

    def _tokens(self, graphed: Graphed, cond: Any, text_tokens: Any) -> Iterator[int]:
        for token in graphed.decoder.tokens(cond, text_tokens, self.most_tokens(text_tokens)):
            self.speech_tokens.append(token)
            yield token

    @property
    def _streams(self) -> Graphed | None:
        return self._graphed if self._settings.chunks == "stream" else None

    # -- what is so ----------------------------------------------------------------------------------------

    def memory(self) -> dict[str, int] | None:
        """Return torch's peaks since the model was loaded; None on a CPU, where torch keeps none."""
        if not torch.cuda.is_available():
            return None
        return {
            "torch_peak_allocated_bytes": torch.cuda.max_memory_allocated(),
            "torch_peak_reserved_bytes": torch.cuda.max_memory_reserved(),
        }

    def read_back(self) -> dict[str, Any]:
        """Return the settings as the loaded objects have them."""
        package, graphed, settings = self._package, self._graphed, self._settings
        t3 = graphed.decoder.dtype if graphed else next(package.t3.tfmr.parameters()).dtype
        flow = package.s3gen.flow.decoder.estimator.dtype
        places, asked = {"cpu": "cpu", "model": str(package.t3.device)}, settings.watermark_on
        parts = {"t3": package.t3, "s3gen": package.s3gen, "ve": package.ve}
        return {
            "exaggeration": round(float(package.conds.t3.emotion_adv.flatten()[0]), 6),
            **settings.model_dump(include={"cfg_weight", "temperature", "repetition_penalty", "min_p"}),
            "solver": "graphed" if graphed else "package",
            "chunks": "stream" if self._streams else "whole",
            "t3_dtype": str(t3).removeprefix("torch."),
            "flow_dtype": str(flow).removeprefix("torch."),
            "watermark_on": asked if self._watermark.device == places[asked] else self._watermark.device,
            "watermark": f"{type(package.watermarker).__name__} of resemble-perth {_version('resemble-perth')}",
            "watermark_found": self._found,
            "cuda_graphs": graphed.decoder.graphs + graphed.solve.graphs if graphed else None,
            "kernels": graphed.decoder.parts.said if graphed else None,
            "parameters": {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
            "device": str(package.device),
            "chatterbox": _version("chatterbox-tts"),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "transformers": transformers.__version__,
        }


def _text_tokens(package: Any, text: str) -> Any:
    """Return a text as `generate()` gives it to T3, (2, n): for guidance twice, between its marks."""
    hp = package.t3.hp
    tokens = package.tokenizer.text_to_tokens(tts.punc_norm(text)).to(package.device).expand(2, -1)
    pad = torch.nn.functional.pad
    return pad(pad(tokens, (1, 0), value=hp.start_text_token), (0, 1), value=hp.stop_text_token)


def _version(package: str) -> str:
    return importlib.metadata.version(package)


def _folder(weights: Mapping[str, Path]) -> Path:
    """Return the folder of the weights at the revision that the catalog entry pins, all of its files in place."""
    if REPO not in weights:
        raise FileNotFoundError(f"Chatterbox needs {REPO}; the catalog entry's weights do not list it.")
    for name in FILES:
        if not (weights[REPO] / name).is_file():
            raise FileNotFoundError(
                f"{weights[REPO] / name} is not there; run the install phase, which fetches it."
            )
    return weights[REPO]
