"""A time series of bounded size that keeps every peak: for the plot of memory over time."""

from bench.records.memory import MemorySeries

_LOWEST = "available_bytes"
_COLUMNS = ("gpu_process_bytes", "available_bytes", "rss_bytes", "cgroup_bytes", "power_w")


class SeriesBuilder:
    """Collects points; when `limit` is reached, neighbours are merged, so memory stays constant."""

    def __init__(self, limit: int = 600) -> None:
        """Keep at most `limit` points, an even number."""
        self._limit = limit
        self._stride = 1
        self._pending: list[tuple[float, dict[str, float | None]]] = []
        self._points: list[tuple[float, dict[str, float | None]]] = []

    def add(self, t_s: float, values: dict[str, float | None]) -> None:
        """Add one sample; `values` by column name."""
        self._pending.append((t_s, values))
        if len(self._pending) < self._stride:
            return
        self._points.append(_merge(self._pending))
        self._pending = []
        if len(self._points) >= self._limit:
            pairs = zip(self._points[0::2], self._points[1::2], strict=True)
            self._points = [_merge(list(pair)) for pair in pairs]
            self._stride *= 2

    def series(self) -> MemorySeries:
        """Return all points so far, the unfinished stretch too."""
        points = [*self._points, *([_merge(self._pending)] if self._pending else [])]
        columns: dict[str, list[float | None]] = {
            name: [values.get(name) for _, values in points] for name in _COLUMNS
        }
        return MemorySeries.model_validate({"t_s": [round(t_s, 3) for t_s, _ in points], **columns})


def _merge(points: list[tuple[float, dict[str, float | None]]]) -> tuple[float, dict[str, float | None]]:
    merged: dict[str, float | None] = {}
    for name in _COLUMNS:
        known = [value for _, values in points if (value := values.get(name)) is not None]
        merged[name] = (min(known) if name == _LOWEST else max(known)) if known else None
    return points[0][0], merged
