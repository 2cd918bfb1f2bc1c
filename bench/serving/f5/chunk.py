"""One text chunk in graphs: what `infer_batch_process` does for it, with what a voice fixes computed once.

The arithmetic is the package's (utils_infer.py:459-536); its own code computes the reference's mel for every chunk.
"""

from dataclasses import dataclass
from typing import Any

from f5_tts.model.utils import convert_char_to_pinyin

from bench.serving.f5.graphed import GraphedFlow
from bench.serving.f5.package import torch, utils_infer
from bench.serving.f5.reference import Voice
from bench.serving.f5.vocoder import GraphedVocoder

SHORT_TEXT_BYTES, SHORT_TEXT_SPEED = 10, 0.3
"""The package says less than this slowly (utils_infer.py:490)."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What a voice fixes."""

    mel: Any
    """(1, n, mel), on the device."""
    frames: int
    """Of the clip, whole ones: where speech begins in what is solved."""
    text: str
    rms: float | None
    """Of the clip, where the package raises it to its own."""


class ChunkSpeaker:
    """Stands where the adapter has the package's `CFM`: it speaks chunks, with flow and vocoder in graphs."""

    def __init__(self, flow: GraphedFlow, vocoder: GraphedVocoder) -> None:
        """Know no voice yet."""
        self.flow = flow
        self._vocoder = vocoder
        self._known: dict[str, _Known] = {}

    def prepare(self, voice: Voice, longest: int) -> None:
        """Capture the graphs for chunks of which the reference and the speech fill up to `longest` frames together."""
        frames = self._know(voice).frames
        self.flow.prepare(frames + 1, longest)
        self._vocoder.prepare(longest - frames + 1)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def speak(self, voice: Voice, chunk: str, *, speed: float, steps: int, sway: float | None) -> Any:
        """Return the wave of `chunk`, float32 (n,), as `infer_batch_process` does for it."""
        known = self._know(voice)
        frames, bytes_heard, bytes_said = known.frames, len(known.text.encode()), len(chunk.encode())
        pace = SHORT_TEXT_SPEED if bytes_said < SHORT_TEXT_BYTES else speed
        duration = frames + int(frames / bytes_heard * bytes_said / pace)  # in this order: it is rounded down
        text = convert_char_to_pinyin([known.text + chunk])
        mel = self.flow.solve(known.mel, text, duration, steps, sway)
        wave = self._vocoder.decode(mel[:, frames:].float().permute(0, 2, 1))
        if known.rms is not None:
            wave = wave * known.rms / utils_infer.target_rms
        return wave.squeeze().cpu().numpy()

    def _know(self, voice: Voice) -> _Known:
        if voice.sha256 not in self._known:
            audio, target = voice.audio, utils_infer.target_rms
            rms = float(torch.sqrt(torch.mean(torch.square(audio))))
            if rms < target:
                audio = audio * target / rms
            self._known[voice.sha256] = _Known(
                mel=self.flow.mel(audio.to(utils_infer.device)),
                frames=audio.shape[-1] // utils_infer.hop_length,
                text=voice.text + (" " if len(voice.text[-1].encode()) == 1 else ""),
                rms=rms if rms < target else None,
            )
        return self._known[voice.sha256]
