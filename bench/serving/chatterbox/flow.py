"""Chatterbox's flow solved in CUDA graphs: what `solve_euler` computes, without its kernel launches.

Each of the ten Euler steps is a network evaluation with and without guidance: upstream starts some 3,000 kernels a
step, and reads the GPU 14 times while it makes masks. Here a step is one graph a length. Lengths are rounded up to 50
frames (one second) and what pads is masked; the network convolves backwards only and attends where the mask is, so
padding at the end changes nothing that is kept.

On a CPU the same arithmetic runs uncaptured.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any

from bench.serving.chatterbox.package import torch

BUCKET_FRAMES = 50
KEPT_GRAPHS = 64
_BANDS = 80


@dataclass(slots=True)
class _Plan:
    """One length: the tensors that a step reads and writes in place, and its graph once there is one."""

    flow: Any
    """The state of the ODE, float32 (1, 80, frames)."""
    mask: Any
    """1 for a frame that is meant: (2, 1, frames)."""
    mu: Any
    spks: Any
    cond: Any
    """What guides, and zeros: (2, 80, frames), (2, 80) and (2, 80, frames)."""
    t: Any
    dt: Any
    graph: Any = None


class GraphedSolve:
    """Stands for `ConditionalCFM.solve_euler` of a loaded flow."""

    def __init__(self, decoder: Any, dtype: Any) -> None:
        """Take over the loaded decoder; its network is turned into `dtype`."""
        self._estimator = decoder.estimator.to(dtype)
        self._dtype = dtype
        self._rate = decoder.inference_cfg_rate
        self._plans: OrderedDict[int, _Plan] = OrderedDict()
        self._pool: Any = None
        self._noise: Any = None
        self._growing = False
        self._estimator.forward = _without_reads(self._estimator)

    @property
    def dtype(self) -> Any:
        """What the network computes in."""
        return self._estimator.dtype

    @property
    def graphs(self) -> int:
        """How many are captured; 0 without CUDA."""
        return sum(plan.graph is not None for plan in self._plans.values())

    def begin(self, *, growing: bool) -> None:
        """Begin an utterance. One that is `growing` is solved again and again as it becomes longer, from the same noise
        for the frames that it had."""
        self._noise, self._growing = None, growing

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def prepare(self, shortest: int, longest: int) -> None:
        """Capture the graphs for solves of `shortest` to `longest` frames, so that no request waits for one."""
        for frames in range(_bucket(shortest), _bucket(longest) + 1, BUCKET_FRAMES):
            self._plan(frames)

    def solve(
        self, x: Any, t_span: Any, mu: Any, mask: Any, spks: Any, cond: Any, meanflow: bool = False
    ) -> Any:
        """Return the mel spectrogram, float32 (1, 80, n), that noise `x` flows to."""
        if meanflow:
            raise NotImplementedError("Chatterbox's flow has guidance; the distilled one is Turbo's")
        n = x.size(2)
        if self._growing:
            if self._noise is not None:
                x = torch.cat((self._noise, x[:, :, self._noise.size(2) :]), dim=2)[:, :, :n]
            self._noise = x
        plan = self._plan(_bucket(n))
        plan.flow.zero_()[:, :, :n] = x
        # Of a piece that is not the last, upstream drops the end and not the mask of it.
        plan.mask.zero_()[:, :, :n] = mask[:, :, :n]
        plan.mu.zero_()[:1, :, :n] = mu
        plan.cond.zero_()[:1, :, :n] = cond
        plan.spks.zero_()[:1] = spks
        for step in range(1, len(t_span)):
            plan.t.copy_(t_span[step - 1 : step])
            plan.dt.copy_(t_span[step : step + 1] - plan.t)
            if plan.graph is None:
                self._step(plan)
            else:
                plan.graph.replay()
        return plan.flow[:, :, :n].clone()

    def _plan(self, frames: int) -> _Plan:
        if frames in self._plans:
            self._plans.move_to_end(frames)
            return self._plans[frames]
        device = next(self._estimator.parameters()).device

        def zeros(*shape: int, dtype: Any = self._dtype) -> Any:
            return torch.zeros(shape, device=device, dtype=dtype)

        plan = _Plan(
            flow=zeros(1, _BANDS, frames, dtype=torch.float32),
            mask=zeros(2, 1, frames),
            mu=zeros(2, _BANDS, frames),
            spks=zeros(2, _BANDS),
            cond=zeros(2, _BANDS, frames),
            t=zeros(1, dtype=torch.float32),
            dt=zeros(1, dtype=torch.float32),
        )
        plan.mask.fill_(1)
        if device.type == "cuda":
            self._capture(plan)
        self._plans[frames] = plan
        while len(self._plans) > KEPT_GRAPHS:
            self._plans.popitem(last=False)
        return plan

    def _capture(self, plan: _Plan) -> None:
        """Record one step as a graph; the warm-up is what CUDA asks for before a capture."""
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(2):
                self._step(plan)
        torch.cuda.current_stream().wait_stream(aside)
        # One pool for all: only one graph runs at a time, and none reads what another computed.
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        plan.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(plan.graph, pool=self._pool, capture_error_mode="thread_local"):
            self._step(plan)

    def _step(self, plan: _Plan) -> None:
        """Advance `plan.flow` by one Euler step with classifier-free guidance, in place."""
        x = plan.flow.to(self._dtype)
        speed = self._estimator(
            torch.cat((x, x)), plan.mask, plan.mu, plan.t.to(self._dtype).expand(2), plan.spks, plan.cond
        ).float()
        plan.flow.add_(plan.dt * ((1.0 + self._rate) * speed[:1] - self._rate * speed[1:]))


def _without_reads(module: Any) -> Callable[..., Any]:
    """Return `module.forward` with a mask function that never reads the GPU; nothing else of it changes.

    Upstream's looks whether a row of the mask is empty, and warns. A read ends a capture.
    """
    forward = type(module).forward
    names = {**forward.__globals__, "add_optional_chunk_mask": lambda xs, masks, *_: masks}
    same = FunctionType(forward.__code__, names, forward.__name__, forward.__defaults__, forward.__closure__)
    same.__kwdefaults__ = forward.__kwdefaults__
    if module.static_chunk_size != 0:
        raise NotImplementedError("Chatterbox's flow hears all of an utterance at once")
    return MethodType(same, module)


def _bucket(frames: int) -> int:
    return -(-frames // BUCKET_FRAMES) * BUCKET_FRAMES
