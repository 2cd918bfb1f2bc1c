from pathlib import Path

import numpy as np
import pytest

from bench.client.bodies import Pcm
from bench.client.faults import TakeFault
from bench.client.figures import check_audio, clipped_share, find_audible, find_bursts, measure
from bench.client.samples import Samples
from bench.records.run import Rule
from bench.records.take import Take
from tests.support.sound import RATE, tone

MS = 1_000_000


def pcm_of(*pieces: tuple[float, float], silent_s: float = 0.0) -> Pcm:
    """Pieces of (arrival ms, seconds)."""
    whole = np.concatenate(
        [np.zeros(round(silent_s * RATE), np.int16), tone(sum(s for _, s in pieces) - silent_s)]
    )
    made, position = Pcm("raw", RATE), 0
    for at_ms, seconds in pieces:
        size = round(seconds * RATE)
        made.events.append((round(at_ms * MS), whole[position : position + size]))
        position += size
    return made


def test_a_steady_stream() -> None:
    got = measure(0, [0, 200 * MS, 300 * MS], 310 * MS, pcm_of((200, 0.2), (300, 0.2)))
    assert (got.ttfb_ms, got.ttfa_ms, got.ttfa_audible_ms, got.total_ms) == (0, 200, 200, 310)
    assert got.audio_s == pytest.approx(0.4)
    assert got.rtf == pytest.approx(0.31 / 0.4)
    assert got.rtf_after_first == pytest.approx(0.11 / 0.2)
    assert (got.chunks, got.streamed, got.stalls, got.start_buffer_ms) == (2, True, 0, 0)


def test_audible_is_the_playback_position_when_that_is_later_than_the_arrival() -> None:
    # 300 ms of silence in front; all audio is here by 250 ms, but a listener hears it at 200 + 300.
    got = measure(0, [200 * MS], 250 * MS, pcm_of((200, 0.2), (250, 0.4), silent_s=0.3))
    assert got.ttfa_audible_ms == pytest.approx(500)


def test_audible_waits_for_a_late_chunk() -> None:
    quiet = pcm_of((100, 0.1), (600, 0.2), silent_s=0.15)
    quiet.events[0][1][:] = 2  # hiss: no silence, and nothing to be heard
    got = measure(0, [100 * MS], 600 * MS, quiet)
    assert got.ttfa_audible_ms == pytest.approx(650)
    assert got.stalls == 1
    assert got.stall_ms == pytest.approx(400)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("value", [0, 1, -1])
def test_samples_about_zero_before_the_first_other_one_are_no_audio(dtype: type, value: int) -> None:
    primer = np.full(24, value, np.int16)
    whole: list[Samples] = [primer, tone(0.3), tone(0.3)]
    if dtype is np.float32:
        whole = [(piece / 32768).astype(np.float32) for piece in whole]
    made = Pcm("raw", RATE, [(20 * MS, whole[0]), (900 * MS, whole[1]), (1200 * MS, whole[2])])
    got = measure(0, [20 * MS, 900 * MS, 1200 * MS], 1210 * MS, made)
    assert (got.ttfb_ms, got.ttfa_ms, got.ttfa_audible_ms) == (20, 900, 900)
    assert got.rtf_after_first == pytest.approx(0.31 / 0.3)
    assert (got.chunks, got.streamed) == (2, True)
    assert got.stalls == 0 and got.start_buffer_ms == pytest.approx(0)
    assert got.audio_s == pytest.approx(0.601)


def test_a_primer_makes_no_stream_of_a_whole_answer() -> None:
    made = Pcm("raw", RATE, [(20 * MS, np.zeros(1, np.int16)), (900 * MS, tone(1.0))])
    got = measure(0, [20 * MS, 900 * MS], 900 * MS, made)
    assert (got.ttfa_ms, got.streamed, got.chunks, got.rtf_after_first) == (900, False, 1, None)


def test_two_steps_from_zero_are_audio_and_so_is_one_within_the_sound() -> None:
    made = Pcm("raw", RATE, [(20 * MS, np.full(24, -2, np.int16)), (900 * MS, tone(0.3))])
    assert measure(0, [20 * MS], 900 * MS, made).ttfa_ms == 20
    later = Pcm(
        "raw", RATE, [(20 * MS, tone(0.1)), (60 * MS, np.zeros(2400, np.int16)), (500 * MS, tone(0.1))]
    )
    got = measure(0, [20 * MS], 500 * MS, later)
    assert (got.ttfa_ms, got.stalls) == (20, 1)


def test_one_write_cut_by_the_network_is_one_chunk_and_no_stream() -> None:
    got = measure(0, [500 * MS], 503 * MS, pcm_of((500, 0.5), (501, 0.5), (503, 0.5)))
    assert (got.chunks, got.streamed, got.rtf_after_first) == (1, False, None)


def test_pieces_so_dense_that_they_are_one_chunk_are_a_stream_all_the_same() -> None:
    pieces = [(100.0 + 3 * index, 0.01) for index in range(200)]
    got = measure(0, [100 * MS], 700 * MS, pcm_of(*pieces))
    assert (got.chunks, got.streamed) == (1, True)
    assert got.rtf_after_first == pytest.approx(0.6 / 1.99)


def test_a_slow_wire_after_a_long_synthesis_is_not_streaming() -> None:
    got = measure(0, [2000 * MS], 2100 * MS, pcm_of((2000, 1), (2050, 1), (2100, 1)))
    assert got.streamed is False
    assert got.chunks == 3


def test_a_compressed_file_exists_at_its_last_byte_and_one_that_trickles_is_null() -> None:
    whole = pcm_of((510, 0.5))
    whole.whole_file = True
    got = measure(0, [500 * MS, 510 * MS], 510 * MS, whole)
    assert (got.ttfa_ms, got.streamed, got.stalls) == (510, False, 0)
    assert got.ttfa_audible_ms == pytest.approx(510)
    slow = measure(0, [100 * MS, 510 * MS], 510 * MS, whole)
    assert (slow.ttfa_ms, slow.ttfa_audible_ms, slow.streamed, slow.stalls) == (None, None, None, None)
    assert slow.total_ms == 510


def test_bursts() -> None:
    assert find_bursts([0, 1, 3, 10, 14.9, 20]) == [0, 3, 5]


def test_the_first_audible_sample() -> None:
    quiet = tone(0.1, 10 ** (-50 / 20))
    assert find_audible(quiet, RATE) is None
    assert find_audible(np.concatenate([quiet, tone(0.1)]), RATE) == quiet.size
    assert find_audible(np.concatenate([np.zeros(100, np.int16), tone(0.1)]), RATE) == 100
    click = np.zeros(2400, np.int16)
    click[50] = 300
    assert find_audible(click, RATE) is None


@pytest.mark.parametrize("dbfs", [-46.0, -44.0])
def test_the_level_is_that_of_the_frame(dbfs: float) -> None:
    steady = np.full(2400, 10 ** (dbfs / 20), np.float32)
    assert (find_audible(steady, RATE) is None) == (dbfs < -45)


def kind_of(samples: np.ndarray) -> str | None:
    try:
        check_audio(samples, RATE)
    except TakeFault as fault:
        return fault.kind
    return None


def test_bad_audio_is_named() -> None:
    assert kind_of(tone()) is None
    assert kind_of(tone(level=1.0)) is None
    assert kind_of(np.zeros(1000, np.int16)) == "silence"
    assert (
        kind_of(np.clip(tone(level=0.9).astype(np.int32) * 3, -32768, 32767).astype(np.int16)) == "clipping"
    )
    bad = tone().astype(np.float32) / 32768
    bad[7] = np.nan
    assert kind_of(bad) == "nan"
    bad[7] = np.inf
    assert kind_of(bad) == "nan"


@pytest.mark.parametrize(("share", "found"), [(1.0, "noise"), (0.9, "noise"), (0.5, None), (0.1, None)])
def test_noise_is_noise_from_end_to_end(share: float, found: str | None) -> None:
    noise = np.random.default_rng(1).integers(-32768, 32767, round(2 * RATE * share)).astype(np.int16)
    assert kind_of(np.concatenate([noise, tone(2 * (1 - share), 0.3)])) == found
    quiet = (noise // 16).astype(np.int16)
    assert kind_of(np.concatenate([quiet, tone(0.2, 0.3)])) is None


def test_a_peak_at_full_scale_is_not_clipping() -> None:
    samples = tone(1.0)
    samples[100:102] = 32767
    assert clipped_share(samples) == 0.0
    samples[100:340] = 32767
    assert clipped_share(samples) == pytest.approx(0.01)


def test_what_ttfa_is_is_said_in_the_same_words_everywhere() -> None:
    words = (
        "TTFA is the arrival of the first sample that is audio: a container's header is none, and neither are samples "
        "within 1 LSB of zero before the first other one"
    )
    root = Path(__file__).parents[2]
    files = ("README.md", "docs/measuring.md", "docs/verdict.md", "bench/report/page.html")
    said = {name: (root / name).read_text(encoding="utf-8") for name in files}
    said["the rule"] = Rule.model_fields["ttfa_p50_limit_ms"].description or ""
    said["a take"] = Take.model_fields["ttfa_ms"].description or ""
    assert [name for name, text in said.items() if words not in " ".join(text.split())] == []
