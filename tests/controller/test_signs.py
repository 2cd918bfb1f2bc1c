"""Signs that work goes on: lines in a log, one that moves in a terminal, none where nobody wants any."""

import os
import pty
import re
import subprocess
import sys
import time
from io import StringIO

import pytest

from bench.controller import signs
from bench.controller.signs import Signs

pytestmark = pytest.mark.slow

WORKS = """
import sys, time
from bench.controller import signs
signs.EVERY_S = 1.0
told = signs.Signs(print, sys.stdout)
with told.during("sealing [10 pairs]"):
    time.sleep(2.5)
    told.say("one line")
    time.sleep(0.6)
print("the end")
"""


def in_a_terminal(term: str) -> str:
    """Return what a terminal of that kind is sent."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": term, "COLUMNS": "100"}
    with subprocess.Popen([sys.executable, "-c", WORKS], env=environment, stdout=theirs) as process:
        os.close(theirs)
        said = b""
        try:
            while piece := os.read(ours, 4096):
                said += piece
        except OSError:  # the other end is closed
            pass
        os.close(ours)
    assert process.returncode == 0
    return said.decode()


def test_a_log_gets_a_line_every_few_seconds_of_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs, "EVERY_S", 0.5)
    monkeypatch.setattr(signs, "LONG_S", 0.3)
    said: list[tuple[float, str]] = []
    told = Signs(lambda text: said.append((time.monotonic(), text)), StringIO())
    with told.during("sealing"):
        for _ in range(4):
            told.say("a pair")
            time.sleep(0.25)
        assert [text for _, text in said] == ["a pair"] * 4, "whoever speaks needs no sign"
        time.sleep(1.5)
    lines = [text for _, text in said]
    assert 2 <= sum(text.startswith("... sealing: ") for text in lines) <= 4, lines
    time.sleep(0.8)
    assert [text for _, text in said] == lines, "none after the end"


def test_a_terminal_gets_one_line_that_moves_and_is_gone_in_the_end() -> None:
    sent = in_a_terminal("xterm")
    assert "... sealing" not in sent
    assert len(re.findall(r"sealing \[10 pairs\], [12] s", sent)) > 3
    assert len(re.findall(r"\n", sent.split("one line")[0])) <= 1, "in its place, not line after line"
    hidden, shown = sent.count("\x1b[?25l"), sent.count("\x1b[?25h")
    assert hidden == shown == 2, "the cursor comes back"
    assert sent.rstrip().endswith("the end") and "\x1b[2K" in sent.split("one line")[1]


def test_a_terminal_that_cannot_move_lines_is_as_a_log() -> None:
    sent = in_a_terminal("dumb")
    assert "... sealing [10 pairs]: " in sent and "\x1b" not in sent
    assert sent.split()[-4:] == ["one", "line", "the", "end"]


def test_nothing_is_said_where_nobody_wants_it(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = Signs(None, sys.stdout)
    with quiet.during("sealing"):
        quiet.say("a pair")
    assert capsys.readouterr().out == ""
