"""A decided run on a branch of its own, pushed and proposed where that is asked for (docs/publish.md)."""

from bench.publish.publication import PublishFailed, PublishReport, publish

__all__ = ["PublishFailed", "PublishReport", "publish"]
