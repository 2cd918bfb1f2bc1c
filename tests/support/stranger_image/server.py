"""Somebody else's speech server: OpenAI's API, a health route of its own, no nonce, one neural voice (hibari).

Runs inside a container, on Debian's Python. MODE makes it misbehave as published images do.
"""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODE = os.environ.get("MODE", "")
RATE_HZ = 24000
_model: list[Any] = []


def main() -> None:
    """Serve until killed."""
    print("somebody's server starts", flush=True)
    match MODE:
        case "exits":
            sys.exit("no weights at /models")
        case "writes":
            Path("/srv/cache").mkdir(exist_ok=True)
            Path("/srv/cache/compiled").write_text("kernels")
        case "runs":
            program = Path("/srv/cache/program")
            program.write_text("#!/bin/sh\nexit 0\n")
            program.chmod(stat.S_IRWXU)
            subprocess.run([program], check=True)
        case "hungry":
            kept = [bytearray(os.urandom(1 << 20) * 16) for _ in range(64)]
            print(len(kept))
        case "chatters":
            threading.Thread(target=_chatter, daemon=True).start()
    if MODE != "never":
        threading.Thread(target=_load, daemon=True).start()
    ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()


def _chatter() -> None:
    while True:
        print("x" * 10_000, flush=True)


def _load() -> None:
    from hibari import Hibari

    model = Hibari()
    model("Ready.")
    _model.append(model)


def _reaches(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def _facts() -> dict[str, Any]:
    """Return what this process is allowed."""
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line
    )
    began = time.monotonic()
    reaches = {
        place: _reaches(place.partition(":")[0], int(place.partition(":")[2]))
        for place in os.environ.get("REACH", "").split()
    }
    return {
        "environment": dict(os.environ),
        "arguments": sys.argv[1:],
        "uid": os.getuid(),
        "capabilities": status["CapEff"].strip(),
        "no_new_privs": status["NoNewPrivs"].strip(),
        "reaches": reaches,
        "reached_s": time.monotonic() - began,
        "mounts": Path("/proc/mounts").read_text(),
        "models": {
            str(p): p.read_text(errors="replace")[:200] for p in Path("/models").rglob("*") if p.is_file()
        },
    }


class Handler(BaseHTTPRequestHandler):
    """The routes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/ready":
            self._answer(200 if _model else 503, {"status": "ok"})
        elif self.path == "/facts":
            self._answer(200, _facts())
        elif self.path == "/v1/models":
            self._answer(200, {"data": [{"id": "hibari"}]})
        else:
            self._answer(404, {"error": {"message": "no such page"}})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/audio/speech" or asked.get("voice") != "heart":
            self._answer(404, {"error": {"message": f"no voice {asked.get('voice')}"}})
            return
        import numpy as np

        self.send_response(200)
        self.send_header("Content-Type", f"audio/pcm;rate={RATE_HZ};channels=1")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for sentence in _model[0].stream(asked["input"], seed=asked.get("seed")):
            pcm = (np.clip(sentence, -1, 1) * 32767).astype("<i2").tobytes()
            self.wfile.write(f"{len(pcm):x}\r\n".encode() + pcm + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


if __name__ == "__main__":
    main()
