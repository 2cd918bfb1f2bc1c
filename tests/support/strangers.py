"""A server that says yes to everything, for tests of who is taken for whom."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any


class _Obliging(http.server.BaseHTTPRequestHandler):
    """Answers 200 and `ready` to whatever it is asked."""

    def do_GET(self) -> None:
        body = json.dumps({"ready": True, "nonce": "mine", "profile": {}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def obliging(port: int = 0) -> Iterator[int]:
    """Yield the port of such a server on the loopback; `port` 0 takes a free one."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), _Obliging)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
