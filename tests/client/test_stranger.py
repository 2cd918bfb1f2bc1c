"""A server that others wrote, as they published it: installed from its pins into an environment of its own."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.client.takes import TAKES_FILE, run_takes
from bench.client.target import Target, Voice
from bench.client.voicecheck import check_voice
from bench.records.run import Utterance
from bench.records.take import Take
from benchmarks import ovos

SAID = [
    Utterance(id="u01", text="The post is slow."),
    Utterance(id="u02", text="That is why people keep it."),
]


@pytest.fixture(scope="module")
def stranger(needs_venv: None) -> Iterator[str]:
    with ovos.serving(ovos.install()) as url:
        yield url


@pytest.mark.timeout(400)  # the first time, its packages are installed
@pytest.mark.parametrize("dialect", ["auto", "openai_file"])
def test_its_takes_are_measured(stranger: str, tmp_path: Path, dialect: str) -> None:
    result = run_takes(Target(stranger, dialect=dialect), SAID, Voice.named("ada"), tmp_path)
    assert (result.takes, result.ok, result.sample_rate_hz) == (2, 2, 22050)
    takes = [Take.model_validate(json.loads(line)) for line in (tmp_path / TAKES_FILE).open()]
    for take in takes:
        assert take.error is None and take.ttfa_ms is not None and take.total_ms is not None
        assert 0 < take.ttfa_ms <= take.total_ms
    # It sends whole files; on a host that is held up in the middle of one, that one looks like a stream.
    assert any(take.streamed is False for take in takes)
    lengths = [take.audio_s or 0.0 for take in takes if not take.warmup]
    assert all(a < b for a, b in itertools.pairwise(lengths)), "the longer sentence is the longer take"


def test_its_route_drops_the_voice_and_is_caught(stranger: str) -> None:
    got = check_voice(Target(stranger), Voice.named("ada"))
    assert (got.verdict, got.unknown_refused) == ("substituted", False)
