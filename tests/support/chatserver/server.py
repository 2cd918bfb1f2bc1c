"""A neighbour for tests: serves the OpenAI chat API the way a vLLM container does, from a script.

It counts its starts in its writable layer, as a real container keeps its state over stop and start. Settings
come from the environment; a list gives one value a start, and the last goes on:

CHAT_PORT         port
CHAT_ADDRESS      address it listens on: 127.0.0.1, or for instance 0.0.0.0
CHAT_READY_S      seconds until it listens: 0, or for instance 0,90
CHAT_LATENCY_MS   seconds of work in an answer: 20, or for instance 20,60 for a drift after the first restart
CHAT_FAIL_STARTS  numbers of the starts at which it exits with code 1 after CHAT_FAIL_AFTER_S
CHAT_STOP_S       seconds that it takes to end when told to: 0
CHAT_STUCK        1: /health answers but no completion ever comes (a stuck engine)
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

STARTS = Path("/var/chat-starts")
MODEL = "scripted-chat"


def of_this_start(name: str, default: str, start: int) -> float:
    values = [float(each) for each in os.environ.get(name, default).split(",")]
    return values[min(start, len(values)) - 1]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    latency_s = 0.0
    disable_nagle_algorithm = True

    def answer(self, status: int, value: Any) -> None:
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(value, str) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        if self.path == "/health":
            self.answer(200, "")
        elif self.path == "/v1/models":
            self.answer(200, {"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        elif self.path == "/metrics":
            self.answer(200, f'vllm:num_requests_running{{model_name="{MODEL}"}} 0.0\n')
        else:
            self.answer(404, {"error": {"message": "not found"}})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))) or b"{}")
        if self.path != "/v1/chat/completions":
            self.answer(404, {"error": {"message": "not found"}})
            return
        if request.get("model") not in (None, MODEL):
            self.answer(404, {"error": {"message": f"The model {request['model']} does not exist."}})
            return
        if os.environ.get("CHAT_STUCK") == "1":
            time.sleep(3600)
        time.sleep(self.latency_s)
        tokens = int(request.get("max_tokens") or request.get("max_completion_tokens") or 4)
        message = {"role": "assistant", "content": " ".join(["yes"] * tokens)}
        self.answer(
            200,
            {
                "id": "chat-1",
                "object": "chat.completion",
                "created": 0,
                "model": MODEL,
                "choices": [{"index": 0, "message": message, "finish_reason": "length"}],
                "usage": {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens},
            },
        )

    def log_message(self, format: str, *args: Any) -> None:
        return


def end(_signal: int, _frame: object) -> None:
    threading.Timer(float(os.environ.get("CHAT_STOP_S", "0")), os._exit, (0,)).start()


def main() -> None:
    signal.signal(signal.SIGTERM, end)
    start = int(STARTS.read_text()) + 1 if STARTS.exists() else 1
    STARTS.write_text(str(start))
    failing = [int(each) for each in os.environ.get("CHAT_FAIL_STARTS", "").split(",") if each]
    print(f"start {start}", flush=True)
    if start in failing:
        time.sleep(float(os.environ.get("CHAT_FAIL_AFTER_S", "0.5")))
        sys.exit(1)
    time.sleep(of_this_start("CHAT_READY_S", "0", start))
    Handler.latency_s = of_this_start("CHAT_LATENCY_MS", "20", start) / 1000
    address = os.environ.get("CHAT_ADDRESS", "127.0.0.1")
    ThreadingHTTPServer((address, int(os.environ["CHAT_PORT"])), Handler).serve_forever()


if __name__ == "__main__":
    main()
