import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.audio.resample import resample
from bench.errors import BadInput

RATES = [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000]


@settings(max_examples=60)
@given(st.integers(0, 5000), st.sampled_from(RATES), st.sampled_from(RATES))
def test_length_is_the_nearest_number_of_samples(n: int, source: int, target: int) -> None:
    out = resample(np.zeros(n, np.float32), source, target)
    assert out.dtype == np.float32
    assert abs(out.size - n * target / source) <= 0.5


@pytest.mark.parametrize(
    ("source", "target"), [(22050, 24000), (48000, 16000), (16000, 24000), (44100, 8000)]
)
def test_a_tone_keeps_its_pitch_level_and_place(source: int, target: int) -> None:
    def tone(rate_hz: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        return (0.5 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)).astype(np.float32)

    out = resample(tone(source), source, target)
    middle = slice(target // 10, -target // 10)
    assert np.max(np.abs(out[middle] - tone(target)[middle])) < 0.005


def test_what_is_above_the_new_nyquist_is_gone() -> None:
    high = np.sin(2 * np.pi * 9000 * np.arange(48000) / 48000).astype(np.float32)
    out = resample(high, 48000, 8000)
    assert np.sqrt(np.mean(out[800:-800] ** 2)) < 0.005


def test_same_rate_is_the_same_array() -> None:
    clip = np.ones(10, np.float32)
    assert resample(clip, 24000, 24000) is clip


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(BadInput, match="positive"):
        resample(np.ones(10, np.float32), 0, 8000)


@pytest.mark.parametrize(
    ("source", "target", "hz"), [(8000, 48000, 3900), (16000, 48000, 7900), (24000, 48000, 11900)]
)
def test_going_up_leaves_no_image_above_the_old_nyquist(source: int, target: int, hz: int) -> None:
    out = resample(
        (0.5 * np.sin(2 * np.pi * hz * np.arange(2 * source) / source)).astype(np.float32), source, target
    )
    middle = out[target // 4 : -target // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.blackman(middle.size) ** 2))
    image = spectrum[round((source / 2 + 5) * middle.size / target) :].max()
    assert 20 * np.log10(image / spectrum.max()) < -90  # scipy's default polyphase filter leaves -10 dB


@pytest.mark.parametrize(("target", "hz"), [(8000, 4100), (16000, 8100), (24000, 12200)])
def test_going_down_lets_nothing_fold_back_even_just_above_the_new_nyquist(target: int, hz: int) -> None:
    out = resample(
        (0.5 * np.sin(2 * np.pi * hz * np.arange(96000) / 48000)).astype(np.float32), 48000, target
    )
    assert np.sqrt(np.mean(out[target // 4 : -target // 4] ** 2)) < 0.35 * 1e-5
