from collections.abc import Callable
from pathlib import Path

import numpy as np
import parselmouth
import pytest
from scipy.signal import sawtooth

from bench.audio.pitch import track_f0
from bench.audio.wav import Samples, read_mono
from bench.metrics.f0 import PASS_ALARM_SEMITONES, drift_semitones, median_f0_hz, voice_drifts

RATE = 24000


def buzz(hz: float, seconds: float = 1.0, rate_hz: int = RATE) -> Samples:
    """A pulse-like wave with many harmonics, as a voice has."""
    phase = 2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz
    return np.asarray(0.3 * sawtooth(phase), dtype=np.float32)


@pytest.mark.parametrize("hz", [75.0, 110.0, 200.0, 320.0])
@pytest.mark.parametrize("rate_hz", [8000, 24000, 48000])
def test_a_known_pitch_is_found_within_five_cents(hz: float, rate_hz: int) -> None:
    found = median_f0_hz(buzz(hz, rate_hz=rate_hz), rate_hz)
    drift = drift_semitones(found, hz)
    assert drift is not None and abs(drift) < 0.05


def praat_hz(samples: Samples, rate_hz: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """F0 a frame by Praat itself, 0 where unvoiced."""
    sound = parselmouth.Sound(samples.astype(np.float64), sampling_frequency=rate_hz)
    pitch = sound.to_pitch_ac(time_step=0.01, pitch_floor=60.0, pitch_ceiling=500.0)
    return np.asarray(pitch.selected_array["frequency"])


@pytest.mark.parametrize(
    "voice",
    [
        "flite:slt",
        "flite:rms",
        "flite:kal",
        pytest.param("espeak:en-us", marks=pytest.mark.needs("espeak-ng")),
    ],
)
def test_real_speech_reads_as_praat_reads_it(speak: Callable[[str, str], Path], voice: str) -> None:
    for utterance_id in ("u01", "u02", "u03"):
        samples, rate_hz = read_mono(speak(voice, utterance_id))
        theirs, ours = praat_hz(samples, rate_hz), track_f0(samples, rate_hz)
        medians = drift_semitones(float(np.median(ours[ours > 0])), float(np.median(theirs[theirs > 0])))
        assert medians is not None and abs(medians) < 0.25
        assert (ours > 0).mean() == pytest.approx((theirs > 0).mean(), abs=0.08)
        n = min(ours.size, theirs.size)
        both = (ours[:n] > 0) & (theirs[:n] > 0)
        semitones = 12 * np.abs(np.log2(ours[:n][both] / theirs[:n][both]))
        assert (semitones > 1).mean() < 0.06


def test_a_long_clip_is_tracked_in_blocks_as_a_short_one() -> None:
    long = track_f0(buzz(140, 12.0), RATE)
    assert long.size == pytest.approx(1195, abs=2) and (np.abs(long[5:-5] - 140) < 1).all()


def test_what_is_not_voiced_has_no_pitch() -> None:
    rng = np.random.default_rng(3)
    assert median_f0_hz(np.zeros(RATE, np.float32), RATE) is None
    assert median_f0_hz((0.1 * rng.standard_normal(RATE)).astype(np.float32), RATE) is None
    assert median_f0_hz(buzz(120, 0.04), RATE) is None
    assert median_f0_hz(np.zeros(0, np.float32), RATE) is None


def test_level_does_not_move_it() -> None:
    loud, soft = median_f0_hz(buzz(150), RATE), median_f0_hz(buzz(150) * np.float32(0.01), RATE)
    assert soft == pytest.approx(loud, rel=1e-3)


def test_an_octave_is_twelve_semitones() -> None:
    assert drift_semitones(220.0, 110.0) == pytest.approx(12.0)
    assert drift_semitones(110.0, 220.0) == pytest.approx(-12.0)
    assert drift_semitones(None, 110.0) is None
    assert drift_semitones(110.0, None) is None


def test_the_alarm_knows_three_answers() -> None:
    assert voice_drifts(4.5) is True and voice_drifts(-4.5) is True
    assert voice_drifts(3.9) is False
    assert voice_drifts(None) is None


def test_a_man_in_a_womans_place_raises_the_alarm_and_the_same_voice_does_not(
    speak: Callable[[str, str], Path],
) -> None:
    reference = median_f0_hz(*read_mono(speak("flite:slt", "u01")))
    for utterance_id in ("u02", "u03"):
        same = drift_semitones(median_f0_hz(*read_mono(speak("flite:slt", utterance_id))), reference)
        other = drift_semitones(median_f0_hz(*read_mono(speak("flite:rms", utterance_id))), reference)
        assert same is not None and abs(same) < PASS_ALARM_SEMITONES
        assert other is not None and other < -6
        assert voice_drifts(same) is False and voice_drifts(other) is True
