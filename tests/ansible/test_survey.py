"""`audition survey`, default inventory and real playbooks: interrupted in mid-benchmark, then gone on with."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.records.run import Phases
from bench.records.verdict import Verdict
from bench.storage.record_file import load_record
from tests.ansible.conftest import Demo
from tests.support import entries
from tests.support.play import REPO

pytestmark = pytest.mark.timeout(1800)


def _survey(state_dir: Path, folder: Path, hum_pieces: int) -> "subprocess.Popen[str]":
    """Begin a survey of one model that hums `hum_pieces` times 50 ms for each sentence, or speaks."""
    given = [f"state_dir={state_dir}", f"catalog_dir={folder / 'catalog'}", '{"chain": ["slow"]}']
    return subprocess.Popen(
        [sys.executable, "-m", "bench.commands.cli", "survey", "--runs-dir", str(folder / "runs"),
         *(word for each in given for word in ("-e", each))],
        cwd=REPO, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(entries.FAULTY), "AUDITION_HUM_PIECES": str(hum_pieces),
             "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def test_an_interrupted_survey_goes_on_and_ends_with_what_to_do(
    demo: Demo, state_dir: Path, tmp_path: Path
) -> None:
    del demo  # the host's venv is made by then
    entries.write(tmp_path / "catalog", entries.faulty("Slow"))
    process = _survey(state_dir, tmp_path, hum_pieces=30)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "| preset | 2/10 |" in line:
            process.send_signal(signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=300)
    assert process.returncode == 130, "".join(said) + rest
    assert "interrupted in benchmark" in rest
    (run_dir,) = (path for path in (tmp_path / "runs").glob("*Z") if not path.is_symlink())
    assert set(load_record(Phases, run_dir).phases) == {"preflight", "install"}

    again = _survey(state_dir, tmp_path, hum_pieces=0)
    text, _ = again.communicate(timeout=600)
    assert again.returncode == 0, text
    assert f"local | slow | goes on with {run_dir.name}" in text
    for model, name in (("slow", "preset"), ("slow", "candidate"), ("flite", "baseline")):
        shown = re.findall(rf"\| {model} \| {name} \| (\d+)/10 \| \w+ \| TTFA", text)
        assert shown == [str(n) for n in range(1, 11)], name
    assert load_record(Verdict, run_dir).decision == "awaiting_ratings"
    where = f"--runs-dir {run_dir.parent}"
    assert text.splitlines()[-2:] == [
        f"  audition rate {run_dir.name} {where}",
        f"  audition verdict {run_dir.name} {where}",
    ]
    assert [path for path in (tmp_path / "runs").glob("*Z") if not path.is_symlink()] == [run_dir]
    assert not (state_dir / "jobs" / run_dir.name).exists()
