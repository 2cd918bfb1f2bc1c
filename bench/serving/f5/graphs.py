"""Work recorded as CUDA graphs, one a length: lengths are rounded up to whole buckets."""

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from bench.serving.f5.package import torch

BUCKET_FRAMES = 128
"""1.37 s of mel frames: at most this much is computed in vain, a tenth of an ordinary solve."""
KEPT_GRAPHS = 24
Plan = TypeVar("Plan")


def bucket(frames: int) -> int:
    """Return `frames` rounded up to whole buckets."""
    return -(-frames // BUCKET_FRAMES) * BUCKET_FRAMES


class Plans(Generic[Plan]):
    """What is kept by length: made when a length is first met, the longest unused let go first."""

    def __init__(self, make: Callable[[int], Plan]) -> None:
        """Keep nothing yet; `make` is given a bucket's frames."""
        self._make = make
        self._kept: OrderedDict[int, Plan] = OrderedDict()

    def of(self, frames: int) -> Plan:
        """Return the plan of the bucket that `frames` falls in."""
        length = bucket(frames)
        if length not in self._kept:
            self._kept[length] = self._make(length)
        self._kept.move_to_end(length)
        while len(self._kept) > KEPT_GRAPHS:
            self._kept.popitem(last=False)
        return self._kept[length]

    def prepare(self, shortest: int, longest: int) -> None:
        """Make the plans of all lengths from `shortest` to `longest` frames."""
        for frames in range(bucket(shortest), bucket(longest) + 1, BUCKET_FRAMES):
            self.of(frames)

    def all(self) -> list[Plan]:
        """Return what is kept."""
        return list(self._kept.values())


class Recorder:
    """Turns work on tensors that stay where they are into something to call again."""

    def __init__(self, *, cuda: bool) -> None:
        """Record with `cuda`; without it the work is called as it is."""
        self._cuda = cuda
        self._pool: Any = None
        self._aside: Any = None
        """One stream for all that is done before recordings: cuBLAS keeps 32 MiB for every stream it has met."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Return what does `work` again; it is done twice before, which CUDA asks for."""
        if not self._cuda:
            return work
        self._aside = self._aside or torch.cuda.Stream()
        self._aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._aside):
            for _ in range(2):
                work()
        torch.cuda.current_stream().wait_stream(self._aside)
        # One pool for all: only one graph runs at a time, and none reads what another computed.
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            work()
        replay: Callable[[], None] = graph.replay
        return replay


@contextlib.contextmanager
def blanked(modules: list[Any], where: Any) -> Iterator[None]:
    """Make what the modules are given 0 `where` the mask says: what is padded, before a module looks around."""
    hooks = [
        module.register_forward_pre_hook(lambda _, given: (given[0].masked_fill(where, 0.0),))
        for module in modules
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
