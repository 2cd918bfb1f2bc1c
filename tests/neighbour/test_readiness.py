"""Readiness and felt latency of a chat server that is no container: what does not need Docker to be shown."""

import time

import pytest

from bench.errors import BadInput
from bench.neighbour.felt import felt_latency
from bench.neighbour.readiness import check_serving
from bench.records.neighbour import NeighbourRecord
from tests.support.raw_server import Asked, Reply, serving


def chat(asked: Asked) -> Reply:
    if asked.path == "/v1/models":
        return Reply.of({"data": [{"id": "gemma"}]})
    return Reply.of({"choices": [{"message": {"content": "yes"}}]})


def test_a_proxy_of_the_environment_is_not_between_us_and_the_neighbour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with serving(lambda asked: Reply(b"the proxy's own page", "502 Bad Gateway")) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        with serving(chat) as server:
            record = NeighbourRecord(mode="parallel", name="n", url=server.url, run_id="r")
            record.before.readiness = check_serving(server.url)
            before = len(server.asked)
            with felt_latency(record, every_s=0.0):
                deadline = time.monotonic() + 30
                while len(server.asked) < before + 2 and time.monotonic() < deadline:
                    time.sleep(0.01)
        assert proxy.asked == []
    assert record.felt is not None and record.felt.errors == 0 and record.felt.values_ms


@pytest.mark.parametrize("url", ["http://host:abc", "http://[::1", "http://a..b:8003", "host:8003"])
def test_an_address_that_cannot_be_used_is_said(url: str) -> None:
    with pytest.raises(BadInput, match="Give neighbour_url the address"):
        check_serving(url, timeout_s=2.0)
