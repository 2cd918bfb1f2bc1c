import asyncio
import gc
import subprocess
from pathlib import Path

import pytest

from bench.catalog.entry import HttpRun
from bench.client.faults import TakeFault
from bench.client.target import Target, Voice
from bench.client.timing import Connection, Exchange, HttpRequest, build_request, quiet_gc, send_once
from bench.errors import BadInput
from tests.support.raw_server import Reply, serving


def send(request: HttpRequest, timeout_s: float = 5, target: Target | None = None) -> Exchange:
    return asyncio.run(send_once(request, target.tls() if target else None, timeout_s))


def test_stamps_follow_what_the_server_did() -> None:
    pieces = [(0.15, b"aa"), (0.15, b"bb")]
    with serving(lambda _: Reply(pieces=pieces)) as server:
        got = send(build_request("GET", server.url + "/x?y=1"))
    assert server.paths() == ["GET /x?y=1"]
    assert [data for _, data in got.body] == [b"aa", b"bb"]
    assert got.head_ns is not None
    assert got.end_ns is not None
    stamps = [got.sent_ns, got.head_ns, got.body[0][0], got.body[1][0], got.end_ns]
    assert stamps == sorted(stamps)
    # Lower bounds hold on the busiest machine: nothing is stamped before it was sent.
    assert got.body[0][0] - got.sent_ns >= 149e6
    assert got.body[1][0] - got.sent_ns >= 299e6
    assert got.connect_ms is not None


def test_a_kept_connection_is_used_again_and_connects_once() -> None:
    async def twice(url: str) -> list[Exchange]:
        connection = await Connection.open(url, None, 5)
        first = await connection.exchange(build_request("GET", url), 5)
        assert connection.reusable
        second = await connection.exchange(build_request("GET", url), 5)
        await connection.close()
        return [first, second]

    with serving(lambda _: Reply(b"hello")) as server:
        first, second = asyncio.run(twice(server.url + "/"))
        assert server.connections == 1
    assert first.content() == second.content() == b"hello"
    assert first.connect_ms is not None
    assert second.connect_ms is None


def test_a_closed_connection_is_not_reusable() -> None:
    async def once(url: str) -> bool:
        connection = await Connection.open(url, None, 5)
        await connection.exchange(build_request("GET", url), 5)
        for _ in range(100):
            if not connection.reusable:
                return False
            await asyncio.sleep(0.02)
        return True

    with serving(lambda _: Reply(b"hello", close=True)) as server:
        assert asyncio.run(once(server.url + "/")) is False


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


def test_https_with_a_private_authority(certificate: tuple[Path, Path]) -> None:
    with serving(lambda _: Reply(pieces=[(0.05, b"safe")]), tls=certificate) as server:
        trusted = Target(server.url, ca_file=certificate[0])
        got = send(build_request("GET", server.url + "/"), target=trusted)
        assert got.content() == b"safe"
        assert got.connect_ms is not None
        with pytest.raises(TakeFault) as caught:
            send(build_request("GET", server.url + "/"), target=Target(server.url))
    assert caught.value.kind == "connect_failed"
    assert "certificate" in caught.value.message.lower()


def test_a_name_that_does_not_exist_is_a_named_fault() -> None:
    with pytest.raises(TakeFault) as caught:
        send(build_request("GET", "http://no-such-host.invalid/"))
    assert caught.value.kind == "connect_failed"


def test_the_token_shows_nowhere() -> None:
    with serving(lambda asked: Reply(asked.headers["authorization"].encode())) as server:
        target = Target.from_run(_run(), server.url, token="s3cret")
        request = build_request("GET", server.url + "/", target.auth())
        got = send(request)
    assert got.content() == b"Bearer s3cret"
    for shown in (repr(target), str(target), repr(request), repr(target.token)):
        assert "s3cret" not in shown
    assert target.scrub("you sent s3cret!") == "you sent [token]!"


def _run() -> HttpRun:
    return HttpRun(kind="http", auth_env="SOME_TOKEN")


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8772", "ftp://host", "http://", "http://me:pw@host", "http://me:pw", "http://host:99999",
        "http://host:0", "http://[::1", "http://a..b:80", f"http://{'x' * 64}.example",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        Target(url)
    assert "pw" not in str(caught.value)


def test_a_reference_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        Voice.clone(tmp_path / "none.wav", "text")


def test_the_voice_of_a_reference_is_named_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"one")
    (tmp_path / "b.wav").write_bytes(b"two")
    names = {Voice.clone(tmp_path / file, text).label for file in ("a.wav", "b.wav") for text in ("x", "y")}
    assert len(names) == 4


def test_what_was_frozen_before_timing_stays_frozen() -> None:
    gc.freeze()
    with quiet_gc():
        pass
    assert gc.get_freeze_count() > 0
