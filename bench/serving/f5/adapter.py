"""F5-TTS behind the engine server, on the package's own loaders and its `infer_batch_process`.

One call of `infer_batch_process(streaming=True)` a text chunk: it solves in the calling thread, so the noise
of successive chunks is drawn in order and a seeded text is reproducible. The package's other mode draws it
from a thread pool, where since 1.1.19 the threads race for the generator; with one thread it gives the same
audio as this adapter does, sample for sample.

F5-TTS has no speaker encoder: the reference enters as a mel spectrogram, which the package computes for every
chunk (0.2 ms on a GPU). What is prepared once is the clip: trimmed, mono, 24 kHz.
"""

import importlib.metadata
import threading
import tomllib
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bench.serving.adapter import (
    BadReference,
    LoadedInfo,
    Samples,
    SpeechRequest,
    SynthesisError,
    UnknownVoice,
)
from bench.serving.f5 import chunking
from bench.serving.f5 import reference as references
from bench.serving.f5.chunk import ChunkSpeaker
from bench.serving.f5.graphed import GraphedFlow
from bench.serving.f5.package import DiT, seed_everything, torch, utils_infer
from bench.serving.f5.settings import F5Settings
from bench.serving.f5.vocoder import GraphedVocoder
from bench.serving.f5.vocos import load_vocos
from bench.serving.words import identity

CHECKPOINT = ("SWivid/F5-TTS", "F5TTS_v1_Base/model_1250000.safetensors")
VOCODER = ("charactr/vocos-mel-24khz", "pytorch_model.bin")
"""Repository and path in it."""
PRESET = "basic_ref_en"
"""The package's own example voice."""
SILENT_PEAK = 1e-3
"""-60 dBFS: a chunk that never exceeds this is taken for silence."""
_WARM_UP = "Warm-up text for the model."
LONGEST_CHUNK_S = 22.0
"""What `chunk_text` allows for reference and speech together (utils_infer.py:404)."""
_WHOLE_CHUNK = 2**62
"""`chunk_size` of the package's streaming: slicing a wave that already exists only delays it."""


class F5:
    """Adapter for the package f5-tts."""

    sample_rate_hz: int = utils_infer.target_sample_rate

    def __init__(self) -> None:
        """Make an adapter with nothing loaded."""
        self._solving = threading.Lock()
        self._voices: dict[str, references.Voice] = {}
        self._last_voice: references.Voice | None = None
        self._evaluations = 0
        self._nfe_measured: int | None = None
        self._fp32_retries: list[str] = []
        self._arch: dict[str, Any] = {}
        self._model: Any = None
        self._flow: Any = None
        self._vocoder: Any = None
        self._infer: partial[Iterator[tuple[Any, int]]]
        self._chunker = chunking.first_clause
        self._cross_fade_s = 0.0

    # -- loading -------------------------------------------------------------------------------------------

    def load(self, profile: Mapping[str, Any], weights: Mapping[str, Path]) -> LoadedInfo:
        """Load model and vocoder from local files, then speak one sentence so that nothing is lazy any more.

        Raises:
            BadInput: the profile is wrong.
            FileNotFoundError: a file of the weights is not in the folder of the pinned revision.
        """
        settings = F5Settings.parse(profile)
        device = utils_infer.device
        checkpoint, vocoder = _file(weights, *CHECKPOINT), _file(weights, *VOCODER)
        self._vocoder = load_vocos(vocoder, device)
        self._arch = settings.arch or _packaged_arch()
        # On a GPU the package makes all of the model float16 while it loads it; widening that again would keep
        # the rounding. On the CPU it loads in float32.
        loaded_on = "cpu" if settings.dtype == "float32" else device
        self._model = utils_infer.load_model(DiT, self._arch, str(checkpoint), device=loaded_on).to(device)
        if settings.dtype is not None:
            self._model.to(getattr(torch, settings.dtype))
        self._model.transformer.register_forward_pre_hook(self._count)
        self._flow = self._model
        if settings.solver == "graphed":
            flow = GraphedFlow(self._model, settings.cfg_strength, on_step=self._count)
            self._flow = ChunkSpeaker(flow, GraphedVocoder(self._vocoder))
        self._infer = partial(
            utils_infer.infer_batch_process,
            model_obj=self._flow,
            vocoder=self._vocoder,
            progress=None,
            nfe_step=settings.nfe_step,
            cfg_strength=settings.cfg_strength,
            sway_sampling_coef=settings.sway_sampling_coef,
            device=device,
            streaming=True,
            chunk_size=_WHOLE_CHUNK,
        )
        self._chunker = {"package": _as_split, "first_clause": chunking.first_clause}[settings.chunker]
        self._cross_fade_s = settings.cross_fade_s
        self._keep(PRESET, self._voice_of_the_package())
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        for _ in self.synthesise(SpeechRequest(_WARM_UP, PRESET, seed=0)):
            pass
        return LoadedInfo(
            model="f5",
            revision=f"f5-tts {importlib.metadata.version('f5-tts')}, weights {weights[CHECKPOINT[0]].name}",
            device=_device_name(),
            profile=self.read_back(),
        )

    @staticmethod
    def _voice_of_the_package() -> references.Voice:
        package = files("f5_tts")
        example = tomllib.loads(
            package.joinpath("infer/examples/basic/basic.toml").read_text(encoding="utf-8")
        )
        return references.prepare(Path(str(package.joinpath(example["ref_audio"]))), example["ref_text"])

    def _count(self, *_: Any) -> None:
        self._evaluations += 1

    # -- voices --------------------------------------------------------------------------------------------

    def voices(self) -> list[str]:
        """Return the package's example voice, then the registered ones."""
        return list(self._voices)

    def register(self, name: str, audio: Path, text: str) -> None:
        """Prepare the clip once; a clip that is already prepared under another name is not prepared again.

        Raises:
            BadReference: see `references.prepare`.
        """
        try:
            known = identity(audio, text)
        except OSError as error:
            raise BadReference(f"the reference cannot be read: {error}") from error
        kept = next((voice for voice in self._voices.values() if voice.sha256 == known), None)
        self._keep(name, kept or references.prepare(audio, text))

    def _keep(self, name: str, voice: references.Voice) -> None:
        self._voices[name] = voice
        if isinstance(self._flow, ChunkSpeaker):
            with self._solving:
                self._flow.prepare(voice, int(LONGEST_CHUNK_S * self.sample_rate_hz / utils_infer.hop_length))

    # -- speech --------------------------------------------------------------------------------------------

    def chunks(self, text: str, voice: str, speed: float = 1.0) -> list[str]:
        """Return the text as the profile's chunker cuts it for `voice`."""
        reference = self._voices[voice]
        budget = chunking.budget_bytes(reference.text, reference.seconds, speed)
        return self._chunker(utils_infer.chunk_text(text.strip(), max_chars=budget))

    def synthesise(self, request: SpeechRequest) -> Iterator[Samples]:
        """Yield each text chunk's audio when it exists, cross-faded into the one before.

        Raises:
            UnknownVoice: before anything is yielded.
            SynthesisError: the text has nothing to say, or a chunk came out unusable in float32 too.
        """
        if request.voice not in self._voices:
            raise UnknownVoice(f"no voice '{request.voice}'; voices: {', '.join(self._voices)}")
        voice = self._voices[request.voice]
        chunks = self.chunks(request.text, request.voice, request.speed)
        if not chunks:
            raise SynthesisError("the text is empty")
        noise = _Noise(request.seed)
        join = chunking.CrossFade(int(self._cross_fade_s * self.sample_rate_hz))
        for position, chunk in enumerate(chunks, start=1):
            with self._solving, noise:
                wave = self._speak(voice, chunk, request.speed)
            ready = join.push(wave, last=position == len(chunks))
            if len(ready):
                yield ready

    def _speak(self, voice: references.Voice, chunk: str, speed: float) -> Any:
        """Return one chunk's audio, float32 (n,); solved again in float32 where it came out unusable."""
        before = _rng_states()
        self._last_voice = voice
        wave, fault = self._solve(voice, chunk, speed, self._flow)
        if fault is None:
            return wave
        in_use = next(self._model.parameters()).dtype
        if in_use != torch.float32:
            self._fp32_retries.append(f"{fault}: {chunk[:40]}")
            _set_rng_states(before)
            try:
                self._model.float()  # may run out of memory half-way
                wave, fault = self._solve(voice, chunk, speed, self._model)
            finally:
                self._model.to(in_use)  # exact: the float32 weights are the rounded ones, widened
            if fault is None:
                return wave
        raise SynthesisError(f"the model's output is {fault}, in float32 too, for: {chunk[:80]}")

    def _solve(self, voice: references.Voice, chunk: str, speed: float, flow: Any) -> tuple[Any, str | None]:
        # A solve that dies leaves its text embedding behind, and the next one would take it for its own
        # (dit.py:284-318): the fault that made 1.1.18 unusable for long text.
        self._model.transformer.clear_cache()
        self._evaluations = 0
        try:
            wave = self._wave(voice, chunk, speed, flow)
        except Exception as error:
            self._model.transformer.clear_cache()
            raise SynthesisError(f"f5-tts failed: {type(error).__name__}: {error}") from error
        self._nfe_measured = self._evaluations
        return wave, _fault(wave)

    def _wave(self, voice: references.Voice, chunk: str, speed: float, flow: Any) -> Any:
        if isinstance(flow, ChunkSpeaker):
            asked = self._infer.keywords
            steps, sway = asked["nfe_step"], asked["sway_sampling_coef"]
            return flow.speak(voice, chunk, speed=speed, steps=steps, sway=sway)
        reference = (voice.audio, self.sample_rate_hz)
        pieces = list(self._infer(reference, voice.text, [chunk], speed=speed, model_obj=flow))
        return np.concatenate([piece for piece, _ in pieces]) if pieces else np.zeros(0, np.float32)

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
        """Return the settings as the loaded objects have them.

        `nfe_step` is counted: evaluations of the network in the latest solve (one an Euler step).
        """
        parameter = next(self._model.parameters())
        block = self._model.transformer.transformer_blocks[0]
        return {
            "nfe_step": self._nfe_measured,
            "cfg_strength": self._infer.keywords["cfg_strength"],
            "sway_sampling_coef": self._infer.keywords["sway_sampling_coef"],
            "cross_fade_s": self._cross_fade_s,
            "chunker": "first_clause" if self._chunker is chunking.first_clause else "package",
            "dtype": str(parameter.dtype).removeprefix("torch."),
            "solver": "package" if self._flow is self._model else "graphed",
            "cuda_graphs": self._flow.flow.graphs if isinstance(self._flow, ChunkSpeaker) else None,
            "kernels": self._flow.flow.kernels if isinstance(self._flow, ChunkSpeaker) else None,
            "ode_method": self._model.odeint_kwargs["method"],
            "attention": block.attn.processor.attn_backend,
            "arch": self._arch,
            "parameters": sum(p.numel() for p in self._model.parameters()),
            "vocoder": type(self._vocoder).__name__,
            "vocoder_dtype": str(next(self._vocoder.parameters()).dtype).removeprefix("torch."),
            "reference_s": None if self._last_voice is None else round(self._last_voice.seconds, 3),
            "device": str(parameter.device),
            "fp32_retries": len(self._fp32_retries),
            "fp32_retried": self._fp32_retries[-10:],
            "f5_tts": importlib.metadata.version("f5-tts"),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
        }


class _Noise:
    """The generators of one request: entered for each solve, so that requests cannot disturb each other."""

    def __init__(self, seed: int | None) -> None:
        self._seed = seed
        self._states: tuple[Any, ...] | None = None

    def __enter__(self) -> None:
        if self._states is not None:
            _set_rng_states(self._states)
        elif self._seed is not None:
            seed_everything(self._seed)
        else:
            torch.seed()

    def __exit__(self, *_: object) -> None:
        self._states = _rng_states()


def _rng_states() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return torch.get_rng_state(), cuda


def _set_rng_states(states: tuple[Any, ...]) -> None:
    cpu, cuda = states
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state(cuda)


def _fault(wave: Any) -> str | None:
    if wave.size == 0:
        return "empty"
    if not np.isfinite(wave).all():
        return "not finite"
    return "silent" if float(np.abs(wave).max()) < SILENT_PEAK else None


def _as_split(chunks: list[str]) -> list[str]:
    return chunks


def _packaged_arch() -> dict[str, Any]:
    text = files("f5_tts").joinpath("configs/F5TTS_v1_Base.yaml").read_text(encoding="utf-8")
    arch: dict[str, Any] = yaml.safe_load(text)["model"]["arch"]
    return arch


def _file(weights: Mapping[str, Path], repo: str, path: str) -> Path:
    """Return the file of `repo` at the revision that the catalog entry pins."""
    if repo not in weights:
        raise FileNotFoundError(f"F5-TTS needs {repo}; the catalog entry's weights do not list it.")
    found = weights[repo] / path
    if not found.is_file():
        raise FileNotFoundError(f"{found} is not there; run the install phase, which fetches it.")
    return found


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
