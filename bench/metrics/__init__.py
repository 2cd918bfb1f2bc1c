"""Acoustic measures beside the listening test: they warn, they never decide. See docs/metrics.md."""
