"""A speech service that wants a bearer token, for tests: `python3 speaker.py PORT SHA256_OF_TOKEN`.

It runs in the host of tests/hosts/ssh_host.py on Debian's Python alone, and knows the token's hash only, so
that the token is nowhere on the host unless Audition leaves it there.
"""

import hashlib
import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Speaker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def known(self) -> bool:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        return hashlib.sha256(token.encode()).hexdigest() == sys.argv[2]

    def do_GET(self) -> None:
        self.answer(200 if self.known() else 401, "application/json", b"{}")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.known():
            self.answer(401, "application/json", b"{}")
            return
        if asked.get("voice") != "en-gb":
            self.answer(404, "application/json", b'{"error": {"message": "no such voice"}}')
            return
        command = ["espeak-ng", "-v", "en-gb", "-w", "/dev/shm/said.wav", "--", asked["input"]]
        subprocess.run(command, check=True)
        with open("/dev/shm/said.wav", "rb") as said:  # noqa: PTH123
            self.answer(200, "audio/wav", said.read())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Speaker).serve_forever()
