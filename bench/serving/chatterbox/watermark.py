"""PerTh, Resemble's inaudible watermark: on every sample that leaves, and asserted.

The package marks a whole utterance at once. A stream is marked piece by piece: each with what was heard before it, and
its end held back until the next piece is there, because a watermark at an edge is computed against silence.
"""

from typing import Any

import numpy as np

from bench.serving.adapter import Samples, SynthesisError
from bench.serving.chatterbox.package import perth, torch

RATE_HZ = 24000
_STEP = 480
"""Samples in whose multiples PerTh keeps a sound's length: it marks at 32 kHz, 10 ms at a time."""
CONTEXT = 16 * _STEP
"""0.32 s of what was heard before."""
HELD = 2 * _STEP
"""0.04 s: the half of a window of its spectrum, and what resampling reaches."""
SURE = 0.9
"""What the detector says of a marked sound is near 1, of another near 0."""


class Watermark:
    """The package's own watermarker, on the device that was asked for."""

    def __init__(self, watermarker: Any, device: Any) -> None:
        """Take over a loaded `ChatterboxTTS.watermarker`.

        Raises:
            RuntimeError: it is another one, the package's placeholder for instance.
        """
        if type(watermarker) is not perth.PerthImplicitWatermarker:
            raise RuntimeError(f"Chatterbox's watermarker is {type(watermarker).__name__} and not PerTh's.")
        self._inner = watermarker
        watermarker.perth_net.to(device)

    @property
    def device(self) -> str:
        """Where it is computed."""
        return str(self._inner.perth_net.device)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def mark(self, samples: Samples) -> Samples:
        """Return the samples with the watermark.

        Raises:
            SynthesisError: PerTh gave back another number of samples, so some would have none.
        """
        marked = np.asarray(self._inner.apply_watermark(samples, sample_rate=RATE_HZ), dtype=np.float32)
        if marked.shape != samples.shape:
            raise SynthesisError(f"PerTh marked {marked.size} of {samples.size} samples")
        return marked

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def detect(self, samples: Samples) -> float:
        """Return PerTh's own confidence, 0 to 1, that the samples are marked."""
        return float(self._inner.get_watermark(samples, sample_rate=RATE_HZ, round=False))

    def require(self, samples: Samples) -> float:
        """Refuse speech in which the watermark cannot be found; return how sure the detector is.

        Raises:
            RuntimeError: the detector is not sure.
        """
        sure: float = self.detect(samples)
        if not sure >= SURE:
            raise RuntimeError(f"PerTh's detector finds no watermark in what was spoken ({sure:.2f} of 1).")
        return round(sure, 3)


class MarkedStream:
    """Marks the pieces of one utterance as they come."""

    def __init__(self, watermark: Watermark) -> None:
        """Begin an utterance."""
        self._watermark = watermark
        self._raw: Samples = np.zeros(0, dtype=np.float32)
        self._sent = 0
        """Of `_raw`, what has left already."""

    def add(self, piece: Samples, *, last: bool) -> Samples:
        """Return what can leave now; `piece` has whole steps of 480 samples."""
        self._raw = np.concatenate((self._raw, piece))
        upto = len(self._raw) - (0 if last else HELD)
        out: Samples = self._watermark.mark(self._raw)[self._sent : upto]
        begin = max(0, upto - CONTEXT)
        self._raw, self._sent = self._raw[begin:], upto - begin
        return out
