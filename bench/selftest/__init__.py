"""`audition selftest`: does the measuring client say what really happened?

A scripted instrument (its own process, raw sockets, its own stamps) plays every dialect and every fault; the
client measures; this package compares. Expected times come from the instrument's stamps, expected stalls and
counts from arithmetic written by hand in `cases.py`.
"""

from bench.selftest.compare import Row, SelftestReport
from bench.selftest.run import run_selftest

__all__ = ["Row", "SelftestReport", "run_selftest"]
