"""What the network alone costs: to be read beside every time that was taken over it."""

import asyncio
import time

from bench.client.faults import TakeFault
from bench.client.target import Target
from bench.client.timing import Connection, build_request, host_name, quiet_gc
from bench.records.passes import NetworkCost
from bench.summaries.summary import summarise

_PATH = "/health"


def measure_network(target: Target, *, n: int = 20, timeout_s: float = 10.0) -> NetworkCost:
    """Take `n` samples of each; the status of the answer does not matter, a 404 travels as far."""
    return asyncio.run(_measure(target, n, timeout_s))


async def _measure(target: Target, n: int, timeout_s: float) -> NetworkCost:
    tls = target.tls()
    url = target.url(_PATH)
    request = build_request("GET", url, target.auth())
    cost = NetworkCost(measured_from=host_name(), path=_PATH)
    connects: list[float] = []
    trips: list[float] = []
    connection: Connection | None = None
    deadline = time.perf_counter() + n * timeout_s
    try:
        with quiet_gc():
            for _ in range(n):
                probe = await Connection.open(url, tls, timeout_s)
                connects.append(probe.connect_ms)
                cost.local_address, cost.remote_address = probe.local_address, probe.remote_address
                await probe.close()
            # The first trip warms both ends and is left out.
            while len(trips) < n + 1 and time.perf_counter() < deadline:
                if connection is None or not connection.reusable:
                    connection = await Connection.open(url, tls, timeout_s)
                answer = await connection.exchange(request, timeout_s)
                if answer.fault is not None or answer.head_ns is None:
                    raise answer.fault or TakeFault("aborted", "an answer without a head")
                cost.status = answer.status
                trips.append((answer.head_ns - answer.sent_ns) / 1e6)
    except TakeFault as fault:
        cost.error = str(fault.scrub(target.scrub))
    finally:
        if connection is not None:
            await connection.close()
    cost.connect_ms = summarise(connects, spreads=True) if connects else None
    cost.round_trip_ms = summarise(trips[1:], spreads=True) if len(trips) > 1 else None
    if cost.remote_address is not None:
        cost.loopback = cost.remote_address.startswith("127.") or cost.remote_address == "::1"
    return cost
