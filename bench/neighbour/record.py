"""Entering a run's leases into its record."""

from bench.records.neighbour import LeaseAccount, NeighbourRecord


def enter_leases(record: NeighbourRecord, leases: list[LeaseAccount]) -> None:
    """Enter the run's leases, and count its pauses from them."""
    record.leases = leases
    lengths = [each.seconds for each in leases if each.stopped]
    record.pauses = len(lengths)
    record.down_s = None if None in lengths else round(sum(each for each in lengths if each is not None), 3)
