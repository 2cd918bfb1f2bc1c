"""Each script of the instrument, the dialect that asks for it, and what must come out. Written by hand."""

from dataclasses import dataclass
from typing import Literal

from bench.selftest.scripts import PIECE_MS, STALLING, STEADY, TOKEN, TWICE


@dataclass(frozen=True, slots=True)
class Case:
    """A script read through a dialect. `error` None: the take must succeed with the figures given."""

    script: str
    dialect: str = "openai"
    error: str | None = None
    error_says: str = ""
    audio_s: float = len(STEADY) * PIECE_MS / 1000
    audio_tolerance_s: float = 0.0
    chunks: int | None = len(STEADY)
    streamed: bool | None = True
    stalls: int = 0
    stall_ms: float = 0.0
    silent_ms: float | None = 0.0
    """Zeros before the first audible sample; None where a codec's delay makes that unknown."""
    clone: Literal["request", "register"] | None = None
    """How a reference travels; None asks for a voice by name."""
    family: str = ""
    """Who is asked (bench.selftest.routes); by default those the dialect is named after."""
    rate_hz: int | None = None
    """As the catalog entry would state it."""
    token: str | None = None
    timeout_s: float = 10.0
    noted: bool = False

    @property
    def name(self) -> str:
        """Return the name of the row."""
        clone = {"request": " with a reference", "register": " with a registered reference", None: ""}[
            self.clone
        ]
        return f"{self.script} via {self.dialect}{f' of {self.family}' if self.family else ''}{clone}"


def _whole(
    script: str, dialect: str = "openai", tolerance_s: float = 0.0, silent_ms: float | None = 0.0
) -> Case:
    return Case(
        script,
        dialect,
        audio_s=0.2,
        audio_tolerance_s=tolerance_s,
        chunks=1,
        streamed=False,
        silent_ms=silent_ms,
    )


_THREE_S = 3 * PIECE_MS / 1000

TIMED: tuple[Case, ...] = (
    Case("pcm"),
    Case("pcm_x_sample_rate"),
    Case("pcm_bearer", token=TOKEN),
    Case("pcm_leading_silence", silent_ms=120.0, chunks=3),
    Case("pcm_stall", audio_s=len(STALLING) * PIECE_MS / 1000, stalls=1, stall_ms=150.0),
    Case("pcm_two_stalls", audio_s=len(TWICE) * PIECE_MS / 1000, chunks=4, stalls=2, stall_ms=140.0),
    Case("pcm_cut_in_samples", audio_s=0.2, chunks=3),
    Case("wav_header_first", "openai_wav"),
    Case("wav_header_with_audio", "openai_wav"),
    Case("wav_size_0", "openai_wav"),
    Case("wav_true_size", "openai_wav"),
    Case("wav_odd_chunks", "openai_wav"),
    Case("sse", "openai_sse", audio_s=_THREE_S, chunks=3),
    Case("sse_cut_across_packets", "openai_sse", audio_s=_THREE_S, chunks=3),
    Case("sse", audio_s=_THREE_S, chunks=3),
    _whole("pcm_whole"),
    _whole("wav_whole", "openai_file"),
    _whole("flac", "openai_file", silent_ms=None),
    _whole("mp3", "openai_file", 0.1, silent_ms=None),
    _whole("opus", "openai_file", 0.1, silent_ms=None),
    _whole("wav_whole", "travisvn"),
    Case("sse_info_first", "travisvn", audio_s=_THREE_S, chunks=3),
    Case("wav_header_first", "travisvn_stream", clone="request"),
    _whole("wav_whole", "devnen"),
    Case("wav_header_with_audio", "devnen"),
    Case("pcm_no_type", "cosyvoice", rate_hz=24000, clone="request"),
    Case("pcm", clone="request"),
    Case("pcm", clone="register"),
    Case("wav_header_with_audio", "devnen", clone="register"),
    Case("busy_then_well", noted=True),
)

PROBED: tuple[Case, ...] = (
    Case("pcm", "auto", family="openai"),
    Case("wav_header_with_audio", "auto", family="openai_wav"),
    Case("sse", "auto", family="openai_sse"),
    Case("wav_whole", "auto", family="openai_file"),
    Case("wav_whole", "auto", family="travisvn"),
    Case("wav_header_first", "auto", family="travisvn_stream"),
    Case("wav_header_with_audio", "auto", family="devnen", clone="register"),
    Case("pcm_no_type", "auto", family="cosyvoice", rate_hz=24000, clone="request"),
)
"""A server of each family, whose dialect must be found by asking."""

FAULTS: tuple[Case, ...] = (
    Case("zero_bytes", error="zero_bytes"),
    Case("zero_bytes", "cosyvoice", error="zero_bytes", rate_hz=24000),
    Case("no_samples", "openai_wav", error="no_samples"),
    Case("nan", "openai_wav", error="nan"),
    Case("silence", error="silence"),
    Case("clipping", error="clipping"),
    Case("wrong_rate", error="wrong_rate", rate_hz=24000),
    Case("rates_disagree", error="wrong_rate"),
    Case("unknown_rate", "cosyvoice", error="unknown_rate"),
    Case("truncated_length", error="truncated"),
    Case("truncated_riff", "openai_wav", error="truncated"),
    Case("sse_truncated", "openai_sse", error="truncated", error_says="server-sent event"),
    Case("too_large", error="too_large"),
    Case("half_a_sample", error="truncated"),
    Case("aborted", error="aborted"),
    Case("reset", error="aborted"),
    Case("no_answer", error="aborted"),
    Case("hang", error="timeout", timeout_s=0.6),
    Case("http_500", error="http_500", error_says="CUDA out of memory"),
    Case("http_404", "devnen", error="http_404", error_says="no such voice"),
    Case("busy_too_long", error="http_503", error_says="Retry-After"),
    Case("pcm_bearer", error="http_401"),
    Case("not_audio", error="not_audio", error_says="text/html"),
    Case("not_http", error="protocol_error"),
    Case("error_as_pcm", error="stream_error", error_says="CUDA out of memory"),
    Case("error_after_audio", error="stream_error", error_says="CUDA out of memory"),
    Case("channels_disagree", error="wrong_form", error_says="channels"),
    Case("float_as_pcm", error="noise"),
    Case("sse_error", "openai_sse", error="stream_error", error_says="model fell over"),
)
