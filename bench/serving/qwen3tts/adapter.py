"""Qwen3-TTS behind the engine server, on the package's own `Qwen3TTSModel`: the Base models, which clone.

A voice is encoded once, when it is registered, and keeps its `VoiceClonePromptItem`. Requests are spoken in turn.
"""

import importlib.metadata
import itertools
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench.serving.adapter import (
    LoadedInfo,
    Samples,
    SpeechRequest,
    SynthesisError,
    UnknownVoice,
)
from bench.serving.qwen3tts import reference, speaking
from bench.serving.qwen3tts.decoding import PLACES, Decoder, Prompt
from bench.serving.qwen3tts.package import qwen_tts, torch, transformers
from bench.serving.qwen3tts.settings import Qwen3TTSSettings
from bench.serving.words import identity

REPOS = ("Qwen/Qwen3-TTS-12Hz-0.6B-Base", "Qwen/Qwen3-TTS-12Hz-1.7B-Base")
FILES = (
    "config.json", "generation_config.json", "preprocessor_config.json", "tokenizer_config.json", "vocab.json",
    "merges.txt", "model.safetensors", "speech_tokenizer/config.json", "speech_tokenizer/configuration.json",
    "speech_tokenizer/preprocessor_config.json", "speech_tokenizer/model.safetensors",
)  # fmt: skip
"""What the package reads of its weights, and what the repository has beside them."""
RATE_HZ = 24000
FRAMES_PER_S = 12.5
_WARM_UP = "Good morning, how did you sleep last night?"


class _Built(Exception):
    """Carries a prompt out of the package, which builds it in the middle of `generate()`."""

    def __init__(self, prompt: Prompt, most: int) -> None:
        super().__init__("a prompt, not an error")
        self.prompt, self.most = prompt, most


class Qwen3TTS:
    """Adapter for QwenLM/Qwen3-TTS."""

    sample_rate_hz: int = RATE_HZ
    warm_up_codes = sum(speaking.PIECES) + 1
    """Every length of a stream's pieces once."""

    def __init__(self) -> None:
        """Make an adapter with nothing loaded."""
        self._turn = threading.Lock()
        self._voices: dict[str, str] = {}
        self._prompts: dict[str, Any] = {}
        self._settings = Qwen3TTSSettings()
        self._package: Any = None
        self._generate: Any = None
        self._decoder: Decoder | None = None
        self._most: int | None = None
        self.codes: list[list[int]] = []
        """The frames that the latest request was spoken from, sixteen codes each."""

    # -- loading -------------------------------------------------------------------------------------------

    def load(self, profile: Mapping[str, Any], weights: Mapping[str, Path]) -> LoadedInfo:
        """Load all parts from local files, then speak one sentence in a voice made up for it.

        Raises:
            BadInput: the profile is wrong.
            FileNotFoundError: a file of the weights is not in the folder of the pinned revision.
        """
        self._settings = settings = Qwen3TTSSettings.parse(profile)
        folder = _folder(weights)
        self._package = package = qwen_tts.Qwen3TTSModel.from_pretrained(
            str(folder),
            device_map="cuda" if torch.cuda.is_available() else "cpu",
            dtype=getattr(torch, settings.dtype),
            local_files_only=True,
            use_safetensors=True,
        )
        talker = package.model.talker
        if settings.solver == "graphed":
            self._decoder = Decoder(talker, settings)
            self._decoder.capture()
        self._generate, talker.generate = talker.generate, self._codes_of
        self._warm_up()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        return LoadedInfo(
            model="qwen3-tts",
            revision=f"qwen-tts {_version('qwen-tts')}, weights {folder.name}",
            device=torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            profile=self.read_back(),
        )

    def _warm_up(self) -> None:
        """Speak once, so that the first request meets no kernel for the first time: a buzz is voice enough."""
        seconds = np.arange(3 * RATE_HZ) / RATE_HZ
        buzz = sum(np.sin(2 * np.pi * 120 * n * seconds) / n for n in range(1, 20)) * 0.2
        self._keep("", "", (np.asarray(buzz, dtype=np.float32), RATE_HZ), _WARM_UP)
        self._most = self.warm_up_codes
        for _ in self._spoken(_WARM_UP, self._prompts.pop(self._voices.pop("")), seed=0):
            pass

    # -- voices --------------------------------------------------------------------------------------------

    def voices(self) -> list[str]:
        """Return the registered voices; a Base model has none of its own."""
        return list(self._voices)

    def register(self, name: str, audio: Path, text: str) -> None:
        """Encode the clip once; one that is known under another name is not encoded again.

        Raises:
            BadReference: see `reference.read`.
        """
        voice = identity(audio, text)
        if voice not in self._prompts:
            clip = reference.read(audio, text, needs_text=not self._settings.x_vector_only)
            with self._turn:
                self._keep(name, voice, clip, text)
        self._voices[name] = voice

    def _keep(self, name: str, voice: str, clip: tuple[Any, int], text: str) -> None:
        (item,) = self._package.create_voice_clone_prompt(
            ref_audio=clip, ref_text=text, x_vector_only_mode=self._settings.x_vector_only
        )
        self._prompts[voice], self._voices[name] = item, voice

    # -- speech --------------------------------------------------------------------------------------------

    def synthesise(self, request: SpeechRequest) -> Iterator[Samples]:
        """Yield the utterance, in one piece or as it comes.

        Raises:
            UnknownVoice: before anything is yielded.
            SynthesisError: the text has nothing to say, another speed than 1 was asked for, or the package failed.
        """
        if request.voice not in self._voices:
            raise UnknownVoice(f"no voice '{request.voice}'; voices: {', '.join(self._voices) or 'none'}")
        if not request.text.strip():
            raise SynthesisError("the text is empty")
        if request.speed != 1.0:
            raise SynthesisError("Qwen3-TTS speaks at one speed; ask for speed 1")
        with self._turn:
            self._most = self.most_codes(request.text)
            try:
                yield from self._spoken(
                    request.text, self._prompts[self._voices[request.voice]], request.seed
                )
            except SynthesisError:
                raise
            except Exception as error:
                raise SynthesisError(f"Qwen3-TTS failed: {type(error).__name__}: {error}") from error

    def most_codes(self, text: str) -> int | None:
        """Return how many codes the talker may draw for a text; None is what its generation_config.json allows."""
        del text
        return None

    def _spoken(self, text: str, voice: Any, seed: int | None) -> Iterator[Samples]:
        if seed is None:
            torch.seed()
        else:
            torch.manual_seed(seed)
        if self._decoder is not None:
            self._decoder.generator.manual_seed(torch.initial_seed())
        self.codes = []
        try:
            (wave,), _ = self._package.generate_voice_clone(
                text=text,
                language=self._settings.language,
                voice_clone_prompt=[voice],
                do_sample=True,
                top_p=1.0,
                subtalker_dosample=True,
                subtalker_top_p=1.0,
                **self._settings.model_dump(include=_DRAWS),
            )
        except _Built as built:
            assert self._decoder is not None
            frames = self._noted(self._decoder.frames(built.prompt, built.most))
            yield from speaking.pieces(self._codec.decoder, frames, voice.ref_code)
        else:
            yield np.ascontiguousarray(wave, dtype=np.float32)

    def _codes_of(self, **asked: Any) -> Any:
        """Stand for `talker.generate()`: the package's own, the graphed one, or the way out to a stream."""
        if self._most is not None:
            asked["max_new_tokens"] = self._most
        if self._decoder is None:
            # What transformers takes by itself, and says so for each request.
            made = self._generate(**asked, pad_token_id=asked["eos_token_id"])
            for _ in self._noted(step[-1] for step in made.hidden_states[1:]):
                pass
            return made
        prompt = Prompt(asked["inputs_embeds"], asked["trailing_text_hidden"], asked["tts_pad_embed"])
        if self._settings.chunks == "stream":
            raise _Built(prompt, asked["max_new_tokens"])
        # What the package reads of transformers' answer: each step's codes, and states that it then drops.
        state = (prompt.pad,)
        frames = list(self._noted(self._decoder.frames(prompt, asked["max_new_tokens"])))
        return SimpleNamespace(hidden_states=[(state, None), *((state, frame) for frame in frames)])

    def _noted(self, frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            self.codes.append(frame[0].tolist())
            yield frame

    @property
    def _codec(self) -> Any:
        return self._package.model.speech_tokenizer.model

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
        model, codec, decoder, settings = self._package.model, self._codec, self._decoder, self._settings
        parts = {"talker": model.talker, "codec": codec, "speaker_encoder": model.speaker_encoder}
        dtypes = {
            name: sorted({str(p.dtype).removeprefix("torch.") for p in part.parameters()})
            for name, part in parts.items()
        }
        alike = set(itertools.chain(*dtypes.values()))
        return {
            "dtype": alike.pop() if len(alike) == 1 else str(dtypes),
            **settings.model_dump(include=_DRAWS | {"language", "x_vector_only"}),
            "solver": "graphed" if decoder else "package",
            "chunks": "stream" if decoder and settings.chunks == "stream" else "whole",
            "cuda_graphs": decoder.graphs if decoder else None,
            "places": PLACES if decoder else None,
            "most_codes": self._package.generate_defaults["max_new_tokens"],
            "parameters": {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()},
            "device": str(model.device),
            "qwen_tts": _version("qwen-tts"),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "transformers": transformers.__version__,
        }


_DRAWS = {"temperature", "top_k", "repetition_penalty", "subtalker_temperature", "subtalker_top_k"}
"""By the package's own names."""


def _version(package: str) -> str:
    return importlib.metadata.version(package)


def _folder(weights: Mapping[str, Path]) -> Path:
    """Return the folder of the weights at the revision that the catalog entry pins, all of its files in place."""
    for repo in REPOS:
        if repo in weights:
            folder = weights[repo]
            break
    else:
        raise FileNotFoundError(
            f"Qwen3-TTS needs {' or '.join(REPOS)}; the catalog entry's weights list neither."
        )
    for name in FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is not there; run the install phase, which fetches it.")
    return folder
