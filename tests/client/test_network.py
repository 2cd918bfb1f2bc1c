from bench.client.network import measure_network
from bench.client.target import Target
from tests.support.raw_server import Reply, serving


def test_connecting_and_round_trips_are_measured_apart() -> None:
    with serving(lambda asked: Reply(pieces=[(0.0, b"{}")])) as server:
        got = measure_network(Target(server.url), n=6)
        assert server.connections == 7
    assert got.connect_ms is not None and got.connect_ms.n == 6
    assert got.round_trip_ms is not None and got.round_trip_ms.n == 6
    assert got.round_trip_ms.p50 is not None and got.round_trip_ms.p50 > 0
    assert (got.loopback, got.remote_address, got.status, got.error) == (True, "127.0.0.1", 200, None)
    assert got.measured_from


def test_a_404_travels_as_far() -> None:
    with serving(lambda asked: Reply.of({}, "404 Not Found")) as server:
        got = measure_network(Target(server.url), n=3)
    assert got.status == 404
    assert got.round_trip_ms is not None


def test_a_server_that_closes_each_time_still_gives_figures() -> None:
    with serving(lambda asked: Reply(b"{}", headers={"Connection": "close"}, close=True)) as server:
        got = measure_network(Target(server.url), n=3)
    assert got.error is None
    assert got.round_trip_ms is not None and got.round_trip_ms.n == 3


def test_out_of_reach_is_null_with_the_reason() -> None:
    with serving(lambda asked: Reply()) as server:
        url = server.url
    got = measure_network(Target(url), n=3)
    assert (got.connect_ms, got.round_trip_ms, got.loopback) == (None, None, None)
    assert got.error is not None and "connection_refused" in got.error
