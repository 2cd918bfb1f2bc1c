"""CosyVoice 2 behind the engine server, on upstream's own `AutoModel` and `inference_zero_shot(stream=True)`.

A reference is encoded once, when it is registered, and kept as upstream's own speaker; a request only names it. What
upstream does wrong when it streams, and what a profile does about it: settings.py.
"""

import hashlib
import importlib.metadata
import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
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
from bench.serving.cosyvoice2 import recipe
from bench.serving.cosyvoice2.graphed import Graphed
from bench.serving.cosyvoice2.package import ABSENT, AutoModel, model, onnxruntime, torch, transformers
from bench.serving.cosyvoice2.reference import prepared
from bench.serving.cosyvoice2.settings import CosyVoiceSettings
from bench.serving.cosyvoice2.upstream import HOP, LlmThread, OwnDraws, mend
from bench.serving.words import identity

REPO = "FunAudioLLM/CosyVoice2-0.5B"
FILES = (
    "cosyvoice2.yaml", "llm.pt", "flow.pt", "hift.pt", "campplus.onnx", "speech_tokenizer_v2.onnx",
    "CosyVoice-BlankEN/config.json", "CosyVoice-BlankEN/generation_config.json", "CosyVoice-BlankEN/merges.txt",
    "CosyVoice-BlankEN/model.safetensors", "CosyVoice-BlankEN/tokenizer_config.json", "CosyVoice-BlankEN/vocab.json",
)  # fmt: skip
"""What upstream reads of its weights; a file that is missing it would fetch, or do without."""
PRESET = "zero_shot_prompt"
PRESET_FILE = "asset/zero_shot_prompt.wav"
PRESET_TEXT = "希望你以后能够做的比我还好呦。"
"""Upstream's own example (example.py:19)."""
_CPU = ["CPUExecutionProvider"]
_WARM_UP = "Good morning."


class CosyVoice2:
    """Adapter for FunAudioLLM/CosyVoice."""

    sample_rate_hz: int = 24000

    def __init__(self) -> None:
        """Make an adapter with nothing loaded."""
        self._turn = threading.Lock()
        self._voices: dict[str, str] = {}
        self._seconds: dict[str, float] = {}
        self._last: str | None = None
        self._settings = CosyVoiceSettings()
        self._package: Any = None
        self._thread: LlmThread
        self._draws: OwnDraws | None = None
        self._graphed: Graphed | None = None

    # -- loading -------------------------------------------------------------------------------------------

    def load(self, profile: Mapping[str, Any], weights: Mapping[str, Path]) -> LoadedInfo:
        """Load all parts from local files, then speak one sentence so that nothing is lazy any more.

        Raises:
            BadInput: the profile is wrong, or cosyvoice2.yaml names what is no part of the model.
            FileNotFoundError: a file of the weights is not in the folder of the pinned revision.
            RuntimeError: the text frontend or the encoders' provider is not the one that was asked for.
        """
        self._settings = settings = CosyVoiceSettings.parse(profile)
        folder = _folder(weights)
        recipe.check(folder / "cosyvoice2.yaml")
        self._package = AutoModel(model_dir=str(folder))
        self._check_frontend()
        inner = self._package.model
        self._thread = LlmThread(inner)
        self._draws = mend(inner, settings)
        if settings.solver == "graphed":
            assert self._draws is not None
            self._graphed = Graphed(inner, self._thread, self._draws, settings)
        self._enrol(PRESET, preset_file(), PRESET_TEXT)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        for _ in self.synthesise(SpeechRequest(_WARM_UP, PRESET, seed=0)):
            pass
        inner.token_hop_len = HOP
        return LoadedInfo(
            model="cosyvoice2",
            revision=f"CosyVoice {_tree()}, weights {folder.name}",
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            profile=self.read_back(),
        )

    def _check_frontend(self) -> None:
        frontend = self._package.frontend
        if frontend.text_frontend != "wetext":
            raise RuntimeError(
                f"CosyVoice's text frontend is '{frontend.text_frontend}' and not wetext: numbers would be left as "
                "they are, without a word from upstream."
            )
        if self._providers() != {"campplus": _CPU, "speech_tokenizer": _CPU}:
            raise RuntimeError(f"the encoders of the reference run on {self._providers()}, not on the CPU.")

    def _providers(self) -> dict[str, list[str]]:
        frontend = self._package.frontend
        return {
            "campplus": list(frontend.campplus_session.get_providers()),
            "speech_tokenizer": list(frontend.speech_tokenizer_session.get_providers()),
        }

    # -- voices --------------------------------------------------------------------------------------------

    def voices(self) -> list[str]:
        """Return upstream's example voice, then the registered ones."""
        return list(self._voices)

    def register(self, name: str, audio: Path, text: str) -> None:
        """Encode the clip once; a clip that is known under another name is not encoded again.

        Raises:
            BadReference: see `reference.prepared`.
        """
        try:
            self._enrol(name, audio, text)
        except OSError as error:
            raise BadReference(f"the reference cannot be read: {error}") from error

    def _enrol(self, name: str, audio: Path, text: str) -> None:
        speaker = identity(audio, text)
        if speaker not in self._package.frontend.spk2info:
            whole = self._settings.reference == "whole_seconds"
            with prepared(audio, text, whole_seconds=whole) as (clip, transcript, seconds), self._turn:
                self._package.add_zero_shot_spk(transcript, str(clip), speaker)
                self._seconds[speaker] = seconds
                if self._graphed is not None:
                    self._graphed.prepare(self._tokens_of(speaker))
        self._voices[name] = speaker

    def _tokens_of(self, speaker: str) -> int:
        return int(self._package.frontend.spk2info[speaker]["flow_prompt_speech_token"].shape[1])

    # -- speech --------------------------------------------------------------------------------------------

    def synthesise(self, request: SpeechRequest) -> Iterator[Samples]:
        """Yield each chunk's audio when it exists; at another speed than 1 upstream makes one chunk a sentence.

        Raises:
            UnknownVoice: before anything is yielded.
            SynthesisError: the text has nothing to say, or upstream failed.
        """
        if request.voice not in self._voices:
            raise UnknownVoice(f"no voice '{request.voice}'; voices: {', '.join(self._voices)}")
        if not request.text.strip():
            raise SynthesisError("the text is empty")
        with self._turn:
            self._last = self._voices[request.voice]
            self._seed(request.seed)
            self._thread.begin()
            try:
                yield from self._speak(request, self._last)
            finally:
                self._thread.end()

    def _speak(self, request: SpeechRequest, speaker: str) -> Iterator[Samples]:
        try:
            pieces = self._package.inference_zero_shot(
                request.text,
                "",
                "",
                zero_shot_spk_id=speaker,
                stream=request.speed == 1.0,
                speed=request.speed,
            )
            for piece in pieces:
                if self._thread.error is not None:
                    break
                yield np.ascontiguousarray(piece["tts_speech"][0].float().numpy())
        except Exception as error:
            cause = self._thread.error or error
            raise SynthesisError(f"CosyVoice failed: {type(cause).__name__}: {cause}") from error
        if (died := self._thread.error) is not None:
            raise SynthesisError(f"CosyVoice failed: {type(died).__name__}: {died}") from died

    def _seed(self, seed: int | None) -> None:
        """Begin the request's draws: the vocoder's noise, and the language model's where they are its own."""
        if seed is None:
            torch.seed()
        else:
            torch.manual_seed(seed)
        if self._draws is not None:
            self._draws.generator.manual_seed(torch.initial_seed())

    @property
    def speech_tokens(self) -> list[int]:
        """What the latest request was spoken from."""
        return list(self._thread.tokens)

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
        inner, graphed = self._package.model, self._graphed
        parts = {"llm": inner.llm, "flow": inner.flow, "hift": inner.hift}
        llm = graphed.decoder.dtype if graphed else next(inner.llm.parameters()).dtype
        flow = graphed.solve.dtype if graphed else next(inner.flow.decoder.parameters()).dtype
        return {
            "hop": "reset" if "tts" in vars(inner) else "leaks",
            "attention_mask": "none" if "forward_one_step" in vars(inner.llm.llm) else "length_one",
            "reference": self._settings.reference,
            "generators": "per_stage" if isinstance(inner.llm.sampling, OwnDraws) else "shared",
            "solver": "graphed" if graphed and inner.tts == graphed.tts else "package",
            "llm_dtype": str(llm).removeprefix("torch."),
            "flow_dtype": str(flow).removeprefix("torch."),
            "cuda_graphs": graphed.decoder.graphs + graphed.solve.graphs if graphed else None,
            "kernels": graphed.decoder.parts.said if graphed else None,
            "hop_tokens": inner.token_hop_len,
            "fp16": inner.fp16,
            "text_frontend": self._package.frontend.text_frontend,
            "encoder_providers": self._providers(),
            "parameters": {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
            "reference_s": None if self._last is None else round(self._seconds[self._last], 3),
            "reference_tokens": None if self._last is None else self._tokens_of(self._last),
            "device": str(inner.device),
            "stood_in_for": ABSENT,
            "cosyvoice": _tree(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "transformers": transformers.__version__,
            "onnxruntime": onnxruntime.__version__,
            "wetext": importlib.metadata.version("wetext"),
        }


def preset_file() -> Path:
    """Return upstream's example clip, as the installation put it beside the code."""
    return Path(model.__file__).parents[1] / PRESET_FILE


@lru_cache(maxsize=1)
def _tree() -> str:
    """Return the first digits of a hash over the code that runs: upstream has no version."""
    home = Path(model.__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        digest.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def _folder(weights: Mapping[str, Path]) -> Path:
    """Return the folder of the weights at the revision that the catalog entry pins, all of its files in place."""
    if REPO not in weights:
        raise FileNotFoundError(f"CosyVoice 2 needs {REPO}; the catalog entry's weights do not list it.")
    for name in FILES:
        if not (weights[REPO] / name).is_file():
            raise FileNotFoundError(
                f"{weights[REPO] / name} is not there; run the install phase, which fetches it."
            )
    return weights[REPO]
