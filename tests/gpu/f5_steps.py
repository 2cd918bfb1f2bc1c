"""One guided step of F5-TTS by length: milliseconds, the floor that its arithmetic sets here, and what it moves.

The floor is the step's multiplications at the rate at which this device multiplies two large matrices, measured in
the same run, for the frames that are meant alone. Bytes are what the parts of a step have to read and write once,
weights included, where no cache helps; each kernel's own are in bench/serving/f5/kernels.py.

`python -m tests.gpu.f5_steps` runs it alone, on a model of full size with random weights, and says besides how far the
mel of a whole solve is from the package's in each bucket; without a GPU, or with `--tiny`, on a tiny one, and the
figures then mean nothing.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.gpu.stand_ins import leave_out_what_is_missing

NOT_INSTALLED = leave_out_what_is_missing()

from bench.serving.f5.adapter import F5  # noqa: E402 - after the stand-ins
from bench.serving.f5.graphed import GraphedFlow  # noqa: E402
from bench.serving.f5.package import torch  # noqa: E402
from tests.support import tiny_f5  # noqa: E402

LENGTHS = ((640, 600), (896, 830), (1280, 1265))
"""Frames of the bucket, and how many of them are meant."""
BUCKETS = range(640, 2049, 128)
REPEATS = 50
WIDTH = 2
"""Bytes of a float16."""


def count(
    frames: int, meant: int, *, dim: int, up: int, depth: int, mel: int, groups: int, taps: int
) -> dict[str, Any]:
    """Return a step's multiplications and bytes by part, both halves of the guidance together.

    `flop` is of the frames that are meant, `bytes` of the whole bucket, for padding moves too.
    """
    rows, said = 2 * frames, 2 * meant
    weights = dim * (4 * dim + 2 * up)
    return {
        "products": {
            "flop": depth * 2 * said * weights,
            # in and out of each of the four, and their weights
            "bytes": depth * WIDTH * (weights + rows * (dim + 3 * dim + 2 * dim + 2 * (dim + up))),
        },
        "attention": {"flop": depth * 4 * said * meant * dim, "bytes": depth * WIDTH * 4 * rows * dim},
        "turned keys": {"flop": 0, "bytes": depth * WIDTH * 2 * rows * dim},
        "norm, gate, modulation": {"flop": 0, "bytes": WIDTH * rows * dim * (2 * depth * 4 + 2)},
        "convolutions": {
            "flop": 2 * 2 * said * dim * (dim // groups) * taps,
            "bytes": WIDTH * (5 * rows * dim + 2 * taps * dim * (dim // groups)),
        },
        "in and out": {"flop": 2 * 2 * said * dim * mel, "bytes": WIDTH * rows * (3 * dim + 4 * mel)},
    }  # fmt: skip


def measure(flow: GraphedFlow) -> list[dict[str, Any]]:
    """Return a row for each of `LENGTHS`; the rate of the matrix product and of a copy are in each."""
    cuda = flow._from_flow.is_cuda
    rates = _rates() if cuda else {"multiplies_tflops": 1.0, "copies_tbs": 1.0}
    heads_dim = flow._from_flow.shape[0]
    weight, _ = flow._position[0]
    sizes = {
        "dim": heads_dim, "up": flow._blocks[0].up[0].shape[0], "depth": len(flow._blocks), "mel": flow._mel,
        "groups": weight.shape[0], "taps": weight.shape[1],
    }  # fmt: skip
    rows = []
    for frames, meant in LENGTHS:
        parts = count(frames, meant, **sizes)
        with torch.inference_mode():
            plan = flow._plans.of(frames)
            # As speech is: what stands there could be anything, even what overflows.
            source = torch.Generator(plan.flow.device).manual_seed(frames)
            for tensor, scale in ((plan.flow, 1.0), (plan.given, 1.0), (plan.now, 0.1)):
                tensor.copy_(torch.randn(tensor.shape, generator=source, device=tensor.device) * scale)
            plan.meant.fill_(meant)
            took = _milliseconds(plan.step, REPEATS if cuda else 1)
        flop, moved = (sum(part[what] for part in parts.values()) for what in ("flop", "bytes"))
        floor = flop / rates["multiplies_tflops"] / 1e9
        rows.append(
            {"frames": frames, "meant": meant, "step_ms": took, "floor_ms": floor, "over_floor": took / floor,
             "flop": flop, "bytes": moved, "copy_ms": moved / rates["copies_tbs"] / 1e9, "parts": parts} | rates
        )  # fmt: skip
    return rows


def _rates() -> dict[str, float]:
    """Return TFLOP/s of a large float16 product and TB/s of a large copy, read and written counted."""
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    multiplied = _milliseconds(lambda: a @ a, 30)
    source = torch.empty(1 << 30, device="cuda", dtype=torch.uint8)
    copied = _milliseconds(lambda: source[: 1 << 29].copy_(source[1 << 29 :]), 30)
    return {"multiplies_tflops": 2 * 8192**3 / multiplied / 1e9, "copies_tbs": (1 << 30) / copied / 1e9}


def _milliseconds(work: Callable[[], object], repeats: int) -> float:
    """Return the median of single timings, on the device's own clock where there is one."""
    for _ in range(3 if repeats > 1 else 0):
        work()
    taken = []
    for _ in range(repeats):
        if torch.cuda.is_available():
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            began.record()
            work()
            ended.record()
            torch.cuda.synchronize()
            taken.append(began.elapsed_time(ended))
        else:
            start = time.perf_counter()
            work()
            taken.append((time.perf_counter() - start) * 1e3)
    return float(statistics.median(taken))


def compare(model: Any, flow: GraphedFlow, buckets: Sequence[int], steps: int) -> list[dict[str, Any]]:
    """Return, by bucket, how far the mel is from the package's for one seed, relative; and the package's from its own
    in float32 of the same weights and noise.
    """
    dtype, draw = next(model.parameters()).dtype, torch.randn
    wave = (
        torch.randn(1, 6 * 24000, generator=torch.Generator().manual_seed(1)).to(flow._from_flow.device) * 0.1
    )
    found = []
    for frames in buckets:
        asked: dict[str, Any] = {
            "cond": wave, "text": [list("some words, and more of them to be said")], "duration": frames - 40,
            "steps": steps, "cfg_strength": 2.0, "sway_sampling_coef": -1.0,
        }  # fmt: skip

        def mel(solver: Any, asked: dict[str, Any] = asked) -> Any:
            torch.manual_seed(5)
            return solver.sample(**asked)[0].float()

        ours, theirs = mel(flow), mel(model)
        torch.randn = lambda *size, **how: draw(*size, **(how | {"dtype": dtype})).float()
        model.float()
        try:
            exact = mel(model)
        finally:
            torch.randn = draw
            model.to(dtype)
        found.append({
            "frames": frames, "nfe": steps, "ours": float((ours - theirs).norm() / theirs.norm()),
            "float32": float((exact - theirs).norm() / theirs.norm()),
            "ours_from_float32": float((ours - exact).norm() / exact.norm()),
        })  # fmt: skip
    return found


def table(rows: Sequence[dict[str, Any]], kernels: dict[str, str]) -> str:
    """Return the rows as Markdown, under what was measured beside them."""
    rates = f"{rows[0]['multiplies_tflops']:.0f} TFLOP/s, copy {rows[0]['copies_tbs']:.2f} TB/s"
    ran = ", ".join(f"{part} {said}" for part, said in kernels.items())
    lines = [
        f"Matrix product {rates}; kernels: {ran}",
        "",
        "| frames (meant) | step | floor | over it | GFLOP | MB | these copied |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r['frames']} ({r['meant']}) | {r['step_ms']:.3f} ms | {r['floor_ms']:.3f} ms | {r['over_floor']:.2f} "
            f"| {r['flop'] / 1e9:.0f} | {r['bytes'] / 1e6:.0f} | {r['copy_ms']:.2f} ms |"
        )
    lines += ["", f"| part at {rows[1]['frames']} frames | GFLOP | MB |", "|---|---|---|"]
    for name, part in rows[1]["parts"].items():
        lines.append(f"| {name} | {part['flop'] / 1e9:.1f} | {part['bytes'] / 1e6:.0f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load a model of random weights and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true")
    tiny = parser.parse_args(arguments).tiny or not torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as scratch:
        (tiny_f5.build if tiny else tiny_f5.build_full_size)(Path(scratch))
        engine = F5()
        engine.load({"arch": tiny_f5.ARCH, "nfe_step": 2} if tiny else {}, tiny_f5.pinned(Path(scratch)))
    flow = GraphedFlow(engine._model, engine._infer.keywords["cfg_strength"])
    print(engine.read_back()["device"], torch.__version__)
    print(table(measure(flow), flow.kernels))
    print("\n| bucket | NFE | mel from the package's | package's float16 from float32 | ours from float32 |")
    print("|---|---|---|---|---|")
    for row in compare(engine._model, flow, BUCKETS[:2] if tiny else BUCKETS, 2 if tiny else 32):
        far = " | ".join(f"{row[what]:.1e}" for what in ("ours", "float32", "ours_from_float32"))
        print(f"| {row['frames']} | {row['nfe']} | {far} |", flush=True)


if __name__ == "__main__":
    main()
