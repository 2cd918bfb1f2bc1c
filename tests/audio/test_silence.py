from pathlib import Path
from subprocess import run

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.audio.silence import Span, leading_silence_s, sound_span, speech_segments, trailing_silence_s, trim
from bench.audio.wav import Samples, read_mono

RATE = 24000


def tone(seconds: float, amplitude: float = 0.3, rate_hz: int = RATE) -> Samples:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (amplitude * np.sin(2 * np.pi * 220 * t)).astype(np.float32)


@settings(max_examples=40)
@given(
    lead=st.integers(0, 3000),
    tail=st.integers(0, 3000),
    gain_db=st.floats(-30, 0),
    rate_hz=st.sampled_from([8000, 16000, 22050, 24000, 44100, 48000]),
)
def test_edges_are_found_to_two_milliseconds_at_any_level(
    lead: int, tail: int, gain_db: float, rate_hz: int
) -> None:
    clip = np.pad(tone(0.3, 0.9 * 10 ** (gain_db / 20), rate_hz), (lead, tail))
    assert leading_silence_s(clip, rate_hz) == pytest.approx(lead / rate_hz, abs=0.002)
    assert trailing_silence_s(clip, rate_hz) == pytest.approx(tail / rate_hz, abs=0.002)


def test_noise_under_the_threshold_is_silence() -> None:
    rng = np.random.default_rng(1)
    clip = np.concatenate([np.zeros(12000, np.float32), tone(1.0), np.zeros(6000, np.float32)])
    clip += (rng.standard_normal(clip.size) * 0.3 * 10 ** (-50 / 20)).astype(np.float32)
    assert leading_silence_s(clip, RATE) == pytest.approx(0.5, abs=0.003)
    assert trailing_silence_s(clip, RATE) == pytest.approx(0.25, abs=0.003)


@pytest.mark.parametrize("clip", [np.zeros(0, np.float32), np.zeros(RATE, np.float32)])
def test_a_silent_clip_has_no_edges(clip: Samples) -> None:
    assert sound_span(clip, RATE) is None
    assert leading_silence_s(clip, RATE) is None
    assert trailing_silence_s(clip, RATE) is None
    assert trim(clip, RATE, pad_s=0.2).size == 0


def test_dither_alone_is_silence() -> None:
    rng = np.random.default_rng(1)
    assert sound_span((rng.uniform(-1, 1, RATE) / 32768).astype(np.float32), RATE) is None


def test_pauses_are_what_lies_between_segments() -> None:
    gap = np.zeros(round(0.4 * RATE), np.float32)
    closure = np.zeros(round(0.1 * RATE), np.float32)
    clip = np.concatenate([gap, tone(0.5), closure, tone(0.2), gap, tone(0.3)])
    first, second = speech_segments(clip, RATE)
    assert first.start / RATE == pytest.approx(0.4, abs=0.002)
    assert first.seconds(RATE) == pytest.approx(0.8, abs=0.004)
    assert second.start / RATE == pytest.approx(1.6, abs=0.002)
    assert second.end == clip.size
    assert len(speech_segments(clip, RATE, min_pause_s=0.05)) == 3


def test_one_click_is_a_sound() -> None:
    clip = np.zeros(RATE, np.float32)
    clip[5000] = 1.0
    span = sound_span(clip, RATE)
    assert span is not None and span.start <= 5000 < span.end + 48


def test_trim_keeps_and_pads_by_the_sample() -> None:
    clip = np.pad(tone(0.5), (4800, 9600))
    span = sound_span(clip, RATE)
    assert span is not None
    assert trim(clip, RATE).size == span.end - span.start
    padded = trim(clip, RATE, keep_s=0.02, pad_s=0.2)
    assert padded.size == span.end - span.start + 2 * 480 + 2 * 4800
    assert not padded[:4800].any() and not padded[-4800:].any()
    everything = trim(clip, RATE, keep_s=60)
    assert np.array_equal(everything, clip)


@pytest.mark.needs("espeak-ng")
def test_real_speech_with_a_sentence_break(tmp_path: Path) -> None:
    wav = tmp_path / "two.wav"
    run(["espeak-ng", "-v", "en-us", "-w", str(wav), "The birch canoe slid. Glue the sheet."], check=True)
    samples, rate_hz = read_mono(wav)
    segments = speech_segments(samples, rate_hz, min_pause_s=0.25)
    assert len(segments) == 2
    assert all(0.5 < segment.seconds(rate_hz) < 3 for segment in segments)
    quieter = speech_segments(samples * np.float32(0.1), rate_hz, min_pause_s=0.25)
    assert [Span(s.start, s.end) for s in quieter] == segments
