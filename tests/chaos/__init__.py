"""Chaos: faults injected into a borrowing run on a private Docker engine; see `python -m tests.chaos --help`."""
