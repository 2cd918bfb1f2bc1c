"""Frames of codes to sound, piece by piece as they come.

The codec's decoder is causal, so that speech can leave before the utterance is whole. The package decodes 300 frames at
a time and gives each stretch the 25 frames before it to hear (`chunked_decode`); a stream does the same with shorter
stretches, of which the first hears the reference's last frames.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bench.serving.adapter import Samples, SynthesisError
from bench.serving.qwen3tts.package import torch

PIECES = (6, 8, 12, 18, 25)
"""Frames of a stream's pieces, the last for all that follow. The first is 0.48 s. Each next one is at most half as long
again, so nothing runs dry where a frame of 80 ms takes less than 53."""
CONTEXT = 25
"""`chunked_decode`'s own."""


@torch.inference_mode()  # type: ignore[untyped-decorator]
def pieces(decoder: Any, frames: Iterator[Any], reference: Any) -> Iterator[Samples]:
    """Yield the sound of frames, (1, 16) codes each, as they come.

    `decoder` is the codec's; `reference` the reference's codes, (n, 16), or None.

    Raises:
        SynthesisError: there are no frames.
    """
    waiting: list[Any] = []
    before = reference[-CONTEXT:] if reference is not None else None
    sizes = iter(PIECES)
    size = next(sizes)
    spoken = False
    for frame in frames:
        waiting.append(frame)
        if len(waiting) == size:
            piece, before = _decode(decoder, waiting, before)
            yield piece
            waiting, size, spoken = [], next(sizes, size), True
    if waiting:
        yield _decode(decoder, waiting, before)[0]
    elif not spoken:
        raise SynthesisError("Qwen3-TTS found nothing to say")


def _decode(decoder: Any, frames: list[Any], before: Any) -> tuple[Samples, Any]:
    """Return the frames' sound, and what the next piece hears before its own."""
    codes = torch.cat(frames)
    heard = codes if before is None else torch.cat((before.to(codes.device), codes))
    wave = decoder(heard.T[None])[0, 0]
    mine = len(codes) * int(decoder.total_upsample)
    return np.ascontiguousarray(wave[-mine:].float().cpu().numpy()), heard[-CONTEXT:]
