import re

import pytest

from bench.client.chat import PROMPT, compare, measure_chat, needs_retry, shortfall
from bench.records.neighbour import ChatLatency
from bench.summaries.summary import summarise
from tests.support.raw_server import Asked, Reply, serving


def vllm(asked: Asked) -> Reply:
    if asked.path == "/v1/models":
        return Reply.of({"data": [{"id": "gemma"}]})
    body = asked.json()
    return Reply.of({"usage": {"completion_tokens": body["max_tokens"]}})


def test_the_protocol() -> None:
    with serving(vllm) as server:
        got = measure_chat(server.url + "/v1", n=8, discard=3, max_tokens=16, token="t")
        assert server.connections == 1
        asked = [each for each in server.asked if each.method == "POST"]
    assert len(asked) == 11
    bodies = [each.json() for each in asked]
    assert {each.path for each in asked} == {"/v1/chat/completions"}
    assert {each.headers["authorization"] for each in asked} == {"Bearer t"}
    prompts = [body["messages"][0]["content"] for body in bodies]
    assert len(set(prompts)) == 11
    assert all(prompt.endswith(PROMPT) and not prompt.startswith(PROMPT[:5]) for prompt in prompts)
    assert len({prompt[:4] for prompt in prompts}) > 5
    for body in bodies:
        assert (body["temperature"], body["max_tokens"], body["stream"], body["ignore_eos"]) == (
            0,
            16,
            False,
            True,
        )
        assert body["model"] == "gemma"
    assert (got.n, len(got.discarded_ms), got.total_ms.n, got.error) == (8, 3, 8, None)
    assert got.p50_of_5_ms == summarise(got.total_ms.values[:5]).p50
    assert (got.fixed_length, got.reconnects, got.ignore_eos) == (True, 0, True)
    assert got.total_ms.p50_low is not None


def test_a_server_without_ignore_eos_is_measured_without_it() -> None:
    def strict(asked: Asked) -> Reply:
        if asked.method == "POST" and "ignore_eos" in asked.json():
            return Reply.of({"error": {"message": "unknown field"}}, "400 Bad Request")
        return Reply.of({"usage": {"completion_tokens": 7}})

    with serving(strict) as server:
        got = measure_chat(server.url, model="m", n=5, discard=1, max_tokens=16)
    assert (got.n, got.ignore_eos, got.fixed_length) == (5, False, False)


def test_a_server_that_closes_connections_is_told_on() -> None:
    def closing(asked: Asked) -> Reply:
        return Reply(b"{}", headers={"Connection": "close"}, close=True)

    with serving(closing) as server:
        got = measure_chat(server.url, model="m", n=5, discard=0)
    assert (got.n, got.reconnects, got.fixed_length) == (5, 4, None)


@pytest.mark.parametrize("status", ["500 Oops", "404 Not Found"])
def test_a_failing_server_is_null_with_the_reason(status: str) -> None:
    with serving(lambda asked: Reply.of({"error": {"message": "model is asleep"}}, status)) as server:
        got = measure_chat(server.url, model="m")
    assert (got.n, got.total_ms.p50, got.p50_of_5_ms) == (0, None, None)
    assert got.error is not None and "model is asleep" in got.error


def test_out_of_reach_is_null_with_the_reason() -> None:
    with serving(lambda asked: Reply()) as server:
        url = server.url
    got = measure_chat(url)
    assert got.model is None
    assert got.error is not None and "connection_refused" in got.error


def latency(*values: float, **more: object) -> ChatLatency:
    fields: dict[str, object] = {
        "url": "http://h", "model": "m", "measured_from": "x", "taken_utc": "t", "n": len(values),
        "discarded_ms": [], "total_ms": summarise(values), "max_tokens": 32, "completion_tokens": [],
        "p50_of_5_ms": summarise(values[:5]).p50, "fixed_length": True, "ignore_eos": True, "reconnects": 0,
    }  # fmt: skip
    return ChatLatency.model_validate(fields | more)


def test_comparison() -> None:
    before = latency(*[100.0] * 20)
    assert compare(before, latency(*[119.0] * 20)).passed
    slower = compare(before, latency(*[121.0] * 20))
    assert not slower.passed
    assert slower.ratio == pytest.approx(1.21)
    assert slower.significant is True
    assert compare(before, latency(*[100.0] * 20)).significant is False


def test_null_and_unlike_never_pass() -> None:
    before = latency(*[100.0] * 20)
    none = compare(before, latency(error="connection_refused: gone"))
    assert (none.passed, none.ratio) == (False, None)
    assert "gone" in none.detail
    assert not compare(before, latency(*[100.0] * 20, model="other")).passed


WHOLE = [100.0] * 20
BROKEN: list[tuple[list[float], dict[str, object], str]] = [
    (WHOLE[:1], {}, "1 samples, and 20 are needed"),
    (WHOLE[:19], {"error": "timeout: no answer"}, "broke off after 19 samples: timeout"),
    (WHOLE, {"error": "timeout: no answer"}, "timeout"),
    (WHOLE, {"fixed_length": False, "completion_tokens": [32, 7]}, r"\[7, 32\] tokens"),
]


@pytest.mark.parametrize(("values", "more", "says"), BROKEN)
@pytest.mark.parametrize("broken_side", ["before", "after"])
def test_a_broken_measurement_never_passes(
    values: list[float], more: dict[str, object], says: str, broken_side: str
) -> None:
    broken, whole = latency(*values, **more), latency(*WHOLE)
    got = compare(broken, whole) if broken_side == "before" else compare(whole, broken)
    assert not got.passed and got.ratio == 1.0
    assert re.search(f"{broken_side}: .*{says}", got.detail)
    assert re.search(says, shortfall(broken) or "") and shortfall(whole) is None


@pytest.mark.parametrize(
    "more",
    [
        {"model": "other"},
        {"max_tokens": 64},
        {"ignore_eos": False},
        {"fixed_length": None},
        {"reconnects": 3},
    ],
)
def test_measurements_that_were_not_taken_alike_never_pass(more: dict[str, object]) -> None:
    for pair in ((latency(*WHOLE), latency(*WHOLE, **more)), (latency(*WHOLE, **more), latency(*WHOLE))):
        got = compare(*pair)
        assert not got.passed and "not taken alike" in got.detail
    assert not compare(latency(*WHOLE), latency(*WHOLE, 100.0)).passed


def test_a_server_that_never_keeps_a_connection_is_compared_all_the_same() -> None:
    assert compare(latency(*WHOLE, reconnects=24), latency(*WHOLE, reconnects=23)).passed


def test_one_retry_and_no_more() -> None:
    bad = compare(latency(100.0, 100.0), latency(200.0, 200.0), min_samples=2)
    good = compare(latency(100.0, 100.0), latency(100.0, 100.0), min_samples=2)
    assert needs_retry(bad, attempts=1)
    assert not needs_retry(bad, attempts=2)
    assert not needs_retry(good, attempts=1)
