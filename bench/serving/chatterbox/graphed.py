"""Chatterbox with its two long parts in CUDA graphs, and its first second first.

The package's own pieces remain what they are: text and voice are put together by `T3.prepare_input_embeds`, tokens
become a spectrogram by `flow_inference` and sound by `hift_inference`. In their places are the text model's loop
(decoding.py), the flow's solve (flow.py) and, to stream, the loop around all: `generate()` makes one piece of an
utterance.

A stream is cut as CosyVoice 2's, whose flow and vocoder these are: 25 tokens (a second) first, then 50, then 100; three
more tokens are heard ahead; the vocoder goes on from 8 frames of spectrogram and source that it has had, and the pieces
are faded into each other over these.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.serving.adapter import Samples, SynthesisError
from bench.serving.chatterbox.decoding import Decoder
from bench.serving.chatterbox.flow import GraphedSolve
from bench.serving.chatterbox.package import torch
from bench.serving.chatterbox.settings import ChatterboxSettings

HOP, MOST_HOP = 25, 100
"""Tokens of the first piece, and of the longest."""
FRAMES_PER_TOKEN = 2
SAMPLES_PER_FRAME = 480
KEPT_FRAMES = 8
"""Of a piece's end, spoken again with the next one: 0.16 s."""
TOKENS = 6561
"""Tokens of speech; from here on they are marks."""
PREPARED_S = 14.0
"""Speech of one utterance for whose lengths graphs are captured beforehand; longer ones are captured when they come."""


@dataclass(frozen=True, slots=True)
class _End:
    """The last frames of the piece before."""

    mel: Any
    source: Any
    speech: Any


class Graphed:
    """Stands for the long parts of a loaded `ChatterboxTTS`."""

    def __init__(self, package: Any, settings: ChatterboxSettings) -> None:
        """Take the model over."""
        self._s3gen = package.s3gen
        self._ahead = package.s3gen.flow.pre_lookahead_len
        self.decoder = Decoder(package.t3, settings)
        self.decoder.capture()
        self.solve = GraphedSolve(package.s3gen.flow.decoder, getattr(torch, settings.flow_dtype))
        package.s3gen.flow.decoder.solve_euler = self.solve.solve
        self.baked = bake(package.s3gen.mel2wav)

    def prepare(self, conds: Any) -> None:
        """Capture the flow's graphs for a voice."""
        prompt = conds.gen["prompt_feat"].shape[1]
        self.solve.prepare(
            prompt + HOP * FRAMES_PER_TOKEN, prompt + round(PREPARED_S * HOP) * FRAMES_PER_TOKEN
        )

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def speak(self, tokens: Iterator[int], conds: Any) -> Iterator[tuple[Samples, bool]]:
        """Yield an utterance's pieces as its tokens come, not yet watermarked, and whether each is the last.

        Raises:
            SynthesisError: there are no tokens of speech.
        """
        self.solve.begin(growing=True)
        spoken: list[int] = []
        offset, hop, end = 0, HOP, None
        for token in tokens:
            if token >= TOKENS:
                continue
            spoken.append(token)
            if len(spoken) == offset + hop + self._ahead:
                piece, end = self._piece(spoken, offset, end, conds, last=False)
                offset, hop = offset + hop, min(MOST_HOP, hop * 2)
                yield piece, False
        if not spoken:
            raise SynthesisError("Chatterbox found nothing to say")
        piece, _ = self._piece(spoken, offset, end, conds, last=True)
        yield piece, True

    def _piece(
        self, spoken: list[int], offset: int, before: _End | None, conds: Any, *, last: bool
    ) -> tuple[Samples, _End | None]:
        """Return the sound of the tokens from `offset` on, and what the next piece goes on from."""
        tokens = torch.tensor([spoken], device=self._s3gen.device)
        mel = self._s3gen.flow_inference(tokens, ref_dict=conds.gen, finalize=last)
        mel = mel[:, :, offset * FRAMES_PER_TOKEN :]
        if before is not None:
            mel = torch.cat((before.mel, mel), dim=2)
        speech, source = self._s3gen.hift_inference(mel, before.source if before else None)
        if before is None:
            speech[:, : len(self._s3gen.trim_fade)] *= self._s3gen.trim_fade
        else:
            kept = before.speech.shape[1]
            rise = torch.sin(torch.linspace(0.0, torch.pi / 2, kept + 2, device=speech.device)[1:-1]).square()
            speech[:, :kept] = speech[:, :kept] * rise + before.speech * (1.0 - rise)
        end = None
        if not last:
            kept = KEPT_FRAMES * SAMPLES_PER_FRAME
            end = _End(mel[:, :, -KEPT_FRAMES:], source[:, :, -kept:], speech[:, -kept:].clone())
            speech = speech[:, :-kept]
        return np.ascontiguousarray(speech[0].float().cpu().numpy()), end


def bake(vocoder: Any) -> int:
    """Compute the vocoder's normalised weights once and for all; return how many there are."""
    baked, parametrize = 0, torch.nn.utils.parametrize
    for module in vocoder.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
            baked += 1
    return baked
