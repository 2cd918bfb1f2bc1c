"""The pre-committed rule and the statistics beside it: pure functions, no I/O but in `collect`."""
