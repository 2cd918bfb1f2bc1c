"""How long a rater waits on a slow line: whole sessions in Chromium, its network held back by its own throttling.

    python -m benchmarks.slow_lines [--json PATH] [--kbit 400 1600] [--pairs 4]

The clips are as long as real ones (two Harvard sentences a pair, a reference of 12 s). The rater is a person's pace:
each side heard once to its end, then five seconds until both scores are given. The clock of a wait runs from the press
(Start, so that the sound check is in it; Save after that) until the pair can be played. Bytes are those of the bodies.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from bench.listening import server
from bench.listening.raters import OWNER, invite
from bench.listening.score import seal
from benchmarks.listening_run import SENTENCES, build

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
LATENCY_MS = 80
THINKS_S = 5.0
READY = "#deck[aria-busy=false]"


@dataclass(frozen=True, slots=True)
class Session:
    """One session on one line."""

    kbit_s: float
    pair_wav_bytes: int
    """Of the first pair and the reference, as they lie sealed on disk."""
    bytes_to_first_pair: int
    first_pair_s: float
    """From Start to the first pair, the sound check in between included."""
    later_waits_s: list[float]
    bytes_in_all: int


@contextmanager
def serving(run_dir: Path) -> Iterator[tuple[str, Any]]:
    """Serve a sealed run; yield its address and the app."""
    app = server.create_app(run_dir)
    runner = uvicorn.Server(server.config(app, "127.0.0.1", 0))
    thread = threading.Thread(target=runner.run, daemon=True)
    thread.start()
    while not runner.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{runner.servers[0].sockets[0].getsockname()[1]}", app
    runner.should_exit = True
    thread.join(10)
    app.state.book.close()


def rate(browser: Browser, run_dir: Path, kbit_s: float, pairs: int) -> Session:
    """Rate `pairs` pairs over a line of `kbit_s` and return what was waited for."""
    with serving(run_dir) as (url, app):
        page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
        page.set_default_timeout(300_000)
        received = _hold_back(page, kbit_s)
        page.goto(url + invite(run_dir, OWNER))
        page.wait_for_selector("#start:visible")
        rater = app.state.book.rater_of(page.url.partition("#")[2])
        first = rater.trials[0]
        began = time.monotonic()
        page.click("#start")
        page.click("#digits-play")
        page.wait_for_function("() => document.activeElement.id === 'digits'")
        page.fill("#digits", app.state.sounds.told(rater.id))
        page.keyboard.press("Enter")
        page.wait_for_selector(READY)
        first_s, to_first = time.monotonic() - began, sum(received)
        waits = []
        for _ in range(pairs - 1):
            _judge(page)
            before = page.inner_text("#trial-title")
            began = time.monotonic()
            page.click("#save")
            page.wait_for_function(
                "before => document.getElementById('trial-title').textContent !== before", arg=before
            )
            page.wait_for_selector(READY)
            waits.append(round(time.monotonic() - began, 2))
        by_name = {clip.file: clip.bytes for clip in app.state.book.sealed.clips}
        tickets = [
            rater.ticket_of(first, "A"),
            rater.ticket_of(first, "B"),
            rater.ticket_of_reference(first.channel),
        ]
        wav = sum(by_name[rater.clips[ticket][1]] for ticket in tickets if ticket)
        return Session(kbit_s, wav, to_first, round(first_s, 2), waits, sum(received))


def _hold_back(page: Page, kbit_s: float) -> list[int]:
    """Hold the page's network back; return a list to which the bytes of every piece are added."""
    received: list[int] = []
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.on("Network.dataReceived", lambda event: received.append(int(event["dataLength"])))
    per_s = kbit_s * 1000 / 8
    devtools.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": LATENCY_MS, "downloadThroughput": per_s, "uploadThroughput": per_s},
    )
    return received


def _judge(page: Page) -> None:
    for side in ("a", "b"):
        page.click(f"#side-{side}")
        page.wait_for_selector(f"#state-{side}.done")
        page.wait_for_function("() => !document.getElementById('play').classList.contains('on')")
    time.sleep(THINKS_S)
    page.click("#score-a label:nth-child(2)")
    page.click("#score-b label:nth-child(4)")


def main(arguments: list[str]) -> int:
    """Measure, print and write; returns the exit code: 1 where a wait is longer than is promised."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--kbit", type=float, nargs="+", default=[400, 1600])
    parser.add_argument("--pairs", type=int, default=4)
    args = parser.parse_args(arguments)
    texts = [f"{one} {other}" for one, other in zip(SENTENCES[:5], SENTENCES[5:], strict=True)]
    sessions = []
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for kbit_s in args.kbit:
            run_dir = Path(scratch) / f"run-{kbit_s:g}"
            build(run_dir, texts=texts, reference=" ".join(SENTENCES[:5]))
            seal(run_dir, channels=())
            found = rate(browser, run_dir, kbit_s, args.pairs)
            sessions.append(found)
            sys.stdout.write(f"{json.dumps(asdict(found))}\n")
            sys.stdout.flush()
        browser.close()
    if args.json:
        args.json.write_text(json.dumps([asdict(one) for one in sessions], indent=2))
    kept = all(one.first_pair_s <= 60 and max(one.later_waits_s, default=0) <= 5 for one in sessions)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
