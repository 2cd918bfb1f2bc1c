"""An engine for the chaos suite: the engine server's HTTP API as far as a job needs it, on the standard library
alone, so that its image is a moment's work. It says every text as three seconds of a tone."""

import array
import json
import math
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONFIG = json.loads(os.environ["AUDITION_ENGINE"])
RATE = 24000
TONE = array.array(
    "h", (int(9000 * math.sin(2 * math.pi * 140 * n / RATE)) for n in range(3 * RATE))
).tobytes()


class Speak(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        known = {
            "/health": {
                "ready": True, "model": CONFIG["model"], "profile": CONFIG["profile"], "nonce": CONFIG["nonce"],
                "device": "cpu", "revision": "1", "sample_rate_hz": RATE, "memory": None, "error": None,
            },
            "/v1/models": {"object": "list", "data": [{"id": CONFIG["model"], "object": "model"}]},
        }  # fmt: skip
        found = known.get(self.path)
        self.answer(404 if found is None else 200, json.dumps(found).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/v1/audio/voices":
            self.answer(201, b'{"name": "registered"}')
            return
        time.sleep(0.25)
        self.answer(200, TONE, f"audio/pcm;rate={RATE};channels=1")

    def log_message(self, format: str, *args: object) -> None:
        return


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
ThreadingHTTPServer(("0.0.0.0", int(sys.argv[2])), Speak).serve_forever()
