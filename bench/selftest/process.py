"""Starting the instrument, and reading what it noted, over sockets of its own."""

import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Running:
    """A running instrument."""

    port: int

    def url(self, script: str, family: str = "anything") -> str:
        """Return the base URL under which it plays `script` to whoever asks as `family` of bench.selftest.routes."""
        return f"http://127.0.0.1:{self.port}/s/{script}/{family}"

    def log(self) -> list[dict[str, Any]]:
        """Return and clear what it noted: `script, take, arrived_ns, sent: [[ns, audio_ms], …]`."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}/log", timeout=10) as answer:
            noted: list[dict[str, Any]] = json.load(answer)
        return noted


@contextlib.contextmanager
def running() -> Iterator[Running]:
    """Run an instrument in its own process; it ends with the block, and with us."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.selftest.instrument"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the instrument did not start; its error is above")
            yield Running(int(json.loads(line)["port"]))
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
