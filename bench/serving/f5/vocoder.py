"""Vocos in CUDA graphs: what its `decode` computes, without its kernel launches.

As with the flow (graphed.py) lengths are rounded up to buckets, and what is padded is made 0 before each convolution
and left out of the overlapping frames and of the windows' sum that they are divided by.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.serving.f5.graphs import Plans, Recorder, blanked
from bench.serving.f5.package import torch

_F = torch.nn.functional


@dataclass(slots=True)
class _Plan:
    mel: Any
    """(1, mel, frames)."""
    meant: Any
    """How many of the frames are no padding: int32 (1,), read on the device."""
    wave: Any
    """(1, frames x hop)."""
    decode: Callable[[], None] = lambda: None
    """Fills `wave`."""


class GraphedVocoder:
    """Stands where `infer_batch_process` expects Vocos."""

    def __init__(self, vocoder: Any) -> None:
        """Record the loaded vocoder; its weights stay its own."""
        self._vocoder = vocoder
        self._like = next(vocoder.parameters())
        self._channels = vocoder.backbone.input_channels
        self._convolutions = [m for m in vocoder.backbone.modules() if isinstance(m, torch.nn.Conv1d)]
        self._istft = vocoder.head.istft
        self._plans = Plans(self._plan)
        self._recorder = Recorder(cuda=self._like.is_cuda)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def prepare(self, longest: int) -> None:
        """Capture the graphs of speech of up to `longest` frames."""
        self._plans.prepare(1, longest)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def decode(self, mel: Any) -> Any:
        """Return the wave of a mel (1, mel, n): (1, (n - 1) x hop)."""
        n = mel.shape[-1]
        plan = self._plans.of(n)
        plan.mel.zero_()
        plan.mel[..., :n] = mel
        plan.meant.fill_(n)
        plan.decode()
        return plan.wave[:, : (n - 1) * self._istft.hop_length].clone()

    def _plan(self, frames: int) -> _Plan:
        like = {"dtype": self._like.dtype, "device": self._like.device}
        plan = _Plan(
            mel=torch.zeros(1, self._channels, frames, **like),
            meant=torch.full((1,), frames, dtype=torch.int32, device=like["device"]),
            wave=torch.zeros(1, frames * self._istft.hop_length, **like),
        )
        plan.decode = self._recorder.record(partial(self._decode, plan))
        return plan

    def _decode(self, plan: _Plan) -> None:
        """Fill `plan.wave` as vocos/heads.py and torch.istft (center=True) do."""
        n_fft, hop, window = self._istft.n_fft, self._istft.hop_length, self._istft.window
        frames = plan.mel.shape[-1]
        beyond = (torch.arange(frames, device=plan.mel.device) >= plan.meant)[None, None]
        with blanked(self._convolutions, beyond):
            hidden = self._vocoder.backbone(plan.mel)
        loudness, phase = self._vocoder.head.out(hidden).transpose(1, 2).chunk(2, dim=1)
        spectrum = torch.polar(loudness.exp().clip(max=1e2), phase)
        pieces = torch.fft.irfft(spectrum, n_fft, dim=1) * window[:, None]
        weights = window.square()[None, :, None].expand(1, n_fft, frames)
        length = (frames - 1) * hop + n_fft
        wave, envelope = (
            _F.fold(each.masked_fill(beyond, 0.0), (1, length), (1, n_fft), stride=(1, hop))[:, 0, 0]
            for each in (pieces, weights)
        )
        middle = slice(n_fft // 2, n_fft // 2 + frames * hop)
        plan.wave.copy_(wave[:, middle] / envelope[:, middle].clip(min=1e-11))
