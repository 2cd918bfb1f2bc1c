"""What `ansible-playbook` prints to a person: banners before the work, one error in words, the verdict last."""

import contextlib
import itertools
import os
import pty
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from bench.controller.wheel import REPO
from tests.support.pace import limit
from tests.support.whole_run import until_sealed

pytestmark = pytest.mark.slow

PLAYBOOK = """
- name: Some work
  hosts: audition_hosts
  gather_facts: false
  tasks:
    - name: Think of nothing
      ansible.builtin.set_fact:
        thought: nothing
    - name: Work for long
      ansible.builtin.command: sleep 8
      changed_when: false
    - name: Say a word
      ansible.builtin.debug:
        msg: [one word, another]
"""


def play(*words: str, environ: dict[str, str] | None = None) -> tuple[int, list[tuple[float, str]]]:
    """Run ansible-playbook in the checkout; return its exit code and each line with the second it came at."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), *words]
    said: list[tuple[float, str]] = []
    began = time.monotonic()
    with subprocess.Popen(
        command, cwd=REPO, env=os.environ | {"ANSIBLE_NOCOLOR": "1"} | (environ or {}), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, bufsize=1,
    ) as process:  # fmt: skip
        assert process.stdout
        reader = threading.Thread(target=_read, args=(process.stdout, said, began))
        reader.start()
        reader.join()
        return process.wait(), said


def _read(lines: Iterable[str], said: list[tuple[float, str]], began: float) -> None:
    for line in lines:
        if line.strip():
            said.append((time.monotonic() - began, line.rstrip()))


def text(said: list[tuple[float, str]]) -> str:
    return "\n".join(line for _, line in said)


def test_a_task_is_named_before_its_work_and_no_silence_is_longer_than_5_s(tmp_path: Path) -> None:
    (tmp_path / "work.yml").write_text(PLAYBOOK)
    code, said = play(str(tmp_path / "work.yml"))
    assert code == 0, text(said)
    named = next(at for at, line in said if line.startswith("TASK [Work for long]"))
    over = next(at for at, line in said if line.startswith("ok: [local]") and at > named)
    assert over - named > 5, "before the work, not after it"
    during = [at for at, _ in said if named <= at <= over]
    longest = max(b - a for a, b in itertools.pairwise(during))
    assert longest < limit(5.5), text(said)
    assert "Think of nothing" not in text(said), "what takes no time and changes nothing is not named"
    assert "local | one word\nlocal | another" in text(said) and "TASK [Say" not in text(said)


def test_in_a_terminal_a_line_moves_and_quiet_says_nothing_of_the_work(tmp_path: Path) -> None:
    (tmp_path / "work.yml").write_text(PLAYBOOK.replace("sleep 8", "sleep 2"))
    ours, theirs = pty.openpty()
    command = [str(Path(sys.executable).with_name("ansible-playbook")), str(tmp_path / "work.yml")]
    environ = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, cwd=REPO, env=environ, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        sent = b""
        with contextlib.suppress(OSError):  # it ends with the other side
            while piece := os.read(ours, 4096):
                sent += piece
        os.close(ours)
    assert process.returncode == 0
    assert len(re.findall(r" Work for long, [12] s", sent.decode())) > 3
    assert "so far" not in sent.decode() and b"one word" in sent and b"Say a word" not in sent
    assert sent.count(b"\x1b[?25l") == sent.count(b"\x1b[?25h") > 0

    code, said = play(str(tmp_path / "work.yml"), environ={"AUDITION_QUIET": "1"})
    assert (code, said) == (0, [])
    code, said = play(
        "site.yml",
        "-e",
        f"runs_dir={tmp_path}/runs",
        "-e",
        "neighbour_mode=away",
        environ={"AUDITION_QUIET": "1"},
    )
    assert (
        code == 2
        and len(said) == 2
        and said[0][1].startswith("[ERROR]: local: ")
        and "must be one of" in said[1][1]
    )


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("reference_audio=/nowhere.wav", "no such reference file: /nowhere.wav"),
        ("modle=f5", "modle is no variable of Audition; is model meant?"),
        ("neighbour_mode=away", "value of neighbour_mode must be one of: pause, parallel, none, got: away"),
    ],
)
def test_an_error_is_said_once_in_words_with_one_exit_code(tmp_path: Path, given: str, words: str) -> None:
    code, said = play("site.yml", "-e", f"runs_dir={tmp_path}/runs", "-e", given)
    assert code == 2
    assert text(said).count(words) == 1, text(said)
    assert len(said) < 12 and "fatal:" not in text(said), text(said)


@pytest.mark.needs("espeak-ng")
def test_the_last_words_are_the_verdict_and_the_next_command_as_it_must_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = until_sealed(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    where = ["-e", "model=espeak", "-e", f"runs_dir={run.path.parent}", "-e", f"run_id={run.run_id}"]
    code, said = play("site.yml", "--tags", "verdict,publish", *where)
    assert code == 0, text(said)
    lines = [line for _, line in said]
    last = lines[-5:]
    assert last[0].startswith("awaiting_ratings: ") and last[2] == "next:", text(said)
    audition = Path(sys.executable).with_name("audition")
    if audition.exists():
        typed = audition.relative_to(REPO) if audition.is_relative_to(REPO) else audition
        assert last[3].startswith(f"  {typed} rate {run.run_id}")
    assert "audition verdict" in last[4]
    assert text(said).count("awaiting_ratings: ") == 1
    assert lines.index(next(line for line in lines if "not published" in line)) < lines.index(last[0])
