"""Whether the neighbour serves: `/health`, then `/v1/models`, then one real generation.

"Started" is not "restored": a vLLM server can answer `/health` while its engine is stuck, and loading takes
minutes (NVIDIA's playbooks poll for up to 900 s). So each step has to succeed, the last being an answer.
"""

import ssl
import time
from typing import Any

import httpx

from bench.errors import BadInput, NeighbourNotBack
from bench.neighbour.spec import READY_LIMIT_S
from bench.records.neighbour import Readiness
from bench.text.outside import clean


class NotReady(Exception):
    """The last step tried did not succeed; the message says which, and what answered."""


def find_root(url: str) -> str:
    """Return the server's root: `http://127.0.0.1:8003` for that, with or without `/` or `/v1`."""
    return url.rstrip("/").removesuffix("/v1").rstrip("/")


def make_direct_client(timeout: httpx.Timeout | float) -> httpx.Client:
    """Return a client that goes to the neighbour itself, as the latency protocol does (bench.client.timing): never
    through a proxy that the environment names for the outside world."""
    return httpx.Client(timeout=timeout, trust_env=False, verify=ssl.create_default_context())


def check_serving(url: str, *, timeout_s: float = 60.0) -> Readiness:
    """Check once that a chat server answers at `url`, before anything is stopped.

    Raises:
        BadInput: nothing answers there, or something that is not an OpenAI-compatible chat server.
    """
    try:
        with make_direct_client(timeout_s) as client:
            return _Attempt(client, find_root(url), None).run(polls=1)
    except NotReady as error:
        raise BadInput(
            f"The neighbour does not serve at {url}: {error}. Give neighbour_url the address of its OpenAI "
            "API, or mend it first."
        ) from error


def wait_ready(
    url: str, *, limit_s: float = READY_LIMIT_S, model: str | None = None, interval_s: float = 1.0
) -> Readiness:
    """Wait until the chat server at `url` is healthy, lists its models and generates.

    `model` is the one to ask; by default the first it lists.

    Raises:
        NeighbourNotBack: not within `limit_s`; the message says which step failed and what answered.
    """
    began = time.monotonic()
    polls = 0
    with make_direct_client(httpx.Timeout(30.0, read=min(120.0, max(5.0, limit_s)))) as client:
        attempt = _Attempt(client, find_root(url), model, began)
        while True:
            polls += 1
            try:
                return attempt.run(polls)
            except NotReady as error:
                if time.monotonic() - began >= limit_s:
                    raise NeighbourNotBack(
                        f"The neighbour at {url} was not ready within {limit_s:.0f} s: {error}. Its container's "
                        "log says why (`docker logs`)."
                    ) from error
            time.sleep(interval_s)


class _Attempt:
    """One go at the three steps; a step that succeeded keeps the time of its first success."""

    def __init__(
        self, client: httpx.Client, root: str, model: str | None, began: float | None = None
    ) -> None:
        self.client = client
        self.root = root
        self.model = model
        self.began = time.monotonic() if began is None else began
        self.firsts: dict[str, float] = {}

    def run(self, polls: int) -> Readiness:
        self._call("health", "GET", "/health")
        models = self._models()
        model = self.model or models[0]
        self._generate(model)
        return Readiness(
            health_s=self.firsts["health"],
            models_s=self.firsts["models"],
            generation_s=self.firsts["generation"],
            model=clean(model),
            models=[clean(each) for each in models],
            polls=polls,
        )

    def _call(self, step: str, method: str, path: str, body: Any = None) -> httpx.Response:
        try:
            answer = self.client.request(method, self.root + path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:  # the last: no name to look up
            raise NotReady(clean(f"{path}: {type(error).__name__} {error}")) from error
        if answer.status_code != 200:
            raise NotReady(f"{path} answers {answer.status_code}: {answer.text[:120]!r}")
        if step == "health":
            self._passed(step)
        return answer

    def _passed(self, step: str) -> None:
        self.firsts.setdefault(step, round(time.monotonic() - self.began, 3))

    def _models(self) -> list[str]:
        answer = self._call("models", "GET", "/v1/models")
        try:
            models = [str(each["id"]) for each in answer.json()["data"]]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise NotReady(f"/v1/models is not OpenAI's list: {answer.text[:120]!r}") from error
        if not models:
            raise NotReady("/v1/models lists no model")
        self._passed("models")
        return models

    def _generate(self, model: str) -> None:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "Answer with the word yes."}],
            "max_tokens": 8,
            "temperature": 0,
        }
        answer = self._call("generation", "POST", "/v1/chat/completions", body)
        try:
            choice = answer.json()["choices"][0]
            generated = choice["message"]["content"] or choice.get("finish_reason")
        except (ValueError, RecursionError, KeyError, IndexError, TypeError) as error:
            raise NotReady(f"/v1/chat/completions gave no completion: {answer.text[:120]!r}") from error
        if not generated:
            raise NotReady("/v1/chat/completions generated nothing")
        self._passed("generation")
