"""The records of other parts have the keys that the report and the verdict read."""

from typing import get_args

from bench.records.memory import Figure, MemoryReport, MemorySeries
from bench.records.metrics import Alarm, MetricsComparison, PairedDifference
from bench.records.neighbour import ChatLatency, Moment, NeighbourRecord
from bench.records.passes import NetworkCost, PassFile, PassResult, VoiceCheck
from bench.records.take import Summary
from bench.report.objective import _ALARMS, _ROWS
from bench.report.words import MEMORY
from bench.verdict.neighbour import neighbour_summary


def test_memory() -> None:
    assert set(MEMORY) <= set(MemoryReport.model_fields)
    assert {"bytes", "source", "reason"} <= set(Figure.model_fields)
    read = {"t_s", "gpu_process_bytes", "rss_bytes", "cgroup_bytes", "available_bytes"}
    assert read <= set(MemorySeries.model_fields)
    assert "series" in MemoryReport.model_fields


def test_neighbour() -> None:
    record = NeighbourRecord(
        mode="pause", name="n", url=None, run_id="r", before=Moment(p50_ms=100.0), after=Moment(p50_ms=90.0)
    )
    summary, warnings = neighbour_summary(record)
    assert summary and summary.ratio == 0.9
    assert warnings == []
    assert ChatLatency.model_fields["total_ms"].annotation is Summary


def test_a_slower_neighbour_is_said_once() -> None:
    record = NeighbourRecord(
        mode="pause", name="n", url=None, run_id="r", before=Moment(p50_ms=100.0), after=Moment(p50_ms=130.0),
        error="slower than before", differences=["image"],
    )  # fmt: skip
    _, warnings = neighbour_summary(record)
    assert warnings == [
        "The neighbour: slower than before",
        "The neighbour's container differs from before: image.",
    ]


def test_metrics() -> None:
    assert {name for name, _, _ in _ROWS} | {"alarms"} <= set(MetricsComparison.model_fields)
    assert {"median", "lowest", "highest", "n"} <= set(PairedDifference.model_fields)
    assert {"kind", "side", "utterance_id", "value", "message"} <= set(Alarm.model_fields)
    kinds = set(get_args(Alarm.model_fields["kind"].annotation))
    assert kinds == set(_ALARMS) | {"not_measured"}, (
        "that one has a message of its own each time, and no value"
    )


def test_how_a_pass_was_made() -> None:
    assert "measured_from" in PassResult.model_fields
    network = {"loopback", "remote_address", "connect_ms", "round_trip_ms"}
    assert network <= set(NetworkCost.model_fields)
    assert {"verdict", "evidence"} <= set(VoiceCheck.model_fields)
    assert {"pass", "network", "voice_check", "health"} <= set(PassFile.model_json_schema()["properties"])
