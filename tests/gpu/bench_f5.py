"""F5-TTS on a GPU: time to first audio, real-time factor and memory, beside the package's own two ways.

The weights are random and of full size: what they hold does not change what a solve costs. The voices are
arithmetic. Several ways to speak are timed in turn on one loaded model, take by take, in an order that turns
around each round, so that a drift of the machine meets all of them alike:

- `package`: `infer_batch_process` as `infer_process` calls it: in a thread of a new pool, and nothing is heard
  before the whole text is done;
- `package in line`: its `streaming=True`, which solves in the calling thread, without slicing what is done;
- `socket`: `TTSStreamingProcessor.generate_stream` of the package's socket_server, with its chunking (the
  model in the precision of the others; as shipped that server would run it in float32);
- `upstream` and `first clause`: our adapter, with the package's chunking and with ours.

Run it as `python -m tests.gpu.bench_f5 --out DIR`; `--tiny` tries it without a GPU.
"""

import argparse
import gc
import json
import logging
import os
import platform
import statistics
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from bench.engines import f5_chunking
from bench.engines.adapter import SpeechRequest
from bench.engines.f5 import F5
from bench.engines.f5_package import seed_everything, utils_infer
from tests.engines import tiny_f5

TEXTS = (
    "Good morning.",
    "Yes, that is right.",
    "I will call you back at four.",
    "Could you spell your last name for me, please?",
    "The part has arrived, and we can fit it tomorrow.",
    "Thank you for waiting, I have found your appointment in the calendar.",
    "If it still makes that noise after the repair, please bring it back to us.",
    "We are open from eight until six during the week, and until noon on Saturdays.",
    "Your order left our warehouse yesterday evening, so it should reach you on Thursday or Friday.",
    "I am sorry about the trouble you had; we will send somebody to look at it, and it will not cost you a cent.",
)
"""From two words to about eight seconds at the references' 15 bytes a second."""
LONG = (
    "The road was closed because of the snow, and everybody had to wait until the plough had been through. "
    * 5
)
"""Of more than one chunk, for the comparison with the package sample by sample."""
REFERENCES = (6.0, 10.0)
WORDS = "and so the clerk went on to read the whole of the letter aloud in a calm voice to all of us"
NFES = (32, 16)
SYSTEMS = ("package", "package in line", "upstream", "first clause", "socket")


class Bench:
    """One loaded model and the ways to speak with it."""

    def __init__(self, weights: Path, arch: dict[str, Any] | None) -> None:
        """Load the adapter as profile `upstream` and register the two references."""
        self.engine = F5()
        self.info = self.engine.load({"arch": arch} if arch else {}, weights)
        for seconds in REFERENCES:
            with tempfile.TemporaryDirectory() as scratch:
                clip = Path(scratch) / "reference.wav"
                soundfile.write(clip, voiced(seconds - 0.05), 24000, subtype="PCM_16")
                self.engine.register(str(seconds), clip, words(seconds))
        self.socket = self._socket_server()

    def _socket_server(self) -> Any:
        from f5_tts.socket_server import TTSStreamingProcessor

        logging.getLogger("f5_tts.socket_server").setLevel(logging.WARNING)
        server = object.__new__(TTSStreamingProcessor)  # its constructor downloads the vocoder
        server.device = utils_infer.device
        server.model, server.vocoder = self.engine._model, self.engine._vocoder
        server.sampling_rate = self.engine.sample_rate_hz
        server.file_writer_thread = None
        return server

    def set_steps(self, steps: int) -> None:
        """Set the number of steps of the adapter."""
        self.engine._infer.keywords["nfe_step"] = steps

    def take(self, system: str, text: str, reference_s: float, steps: int, seed: int) -> dict[str, float]:
        """Speak once; return `ttfa_ms`, `total_ms` and `audio_s`."""
        self.set_steps(steps)
        began = time.perf_counter()
        if system == "package":
            wave = self.package(text, reference_s, steps, seed)
            first = end = time.perf_counter()
            samples = len(wave)
        elif system == "package in line":
            first, samples = 0.0, 0
            for piece, _ in self._package(text, reference_s, steps, seed, streaming=True, chunk_size=2**62):
                first = first or time.perf_counter()
                samples += len(piece)
            end = time.perf_counter()
        elif system == "socket":
            first, end, samples = self._socket_take(text, reference_s, steps, seed)
        else:
            self.engine._chunker = (
                f5_chunking.first_clause if system == "first clause" else lambda chunks: chunks
            )
            first = 0.0
            samples = 0
            for piece in self.engine.synthesise(SpeechRequest(text, str(reference_s), seed=seed)):
                first = first or time.perf_counter()
                samples += len(piece)
            end = time.perf_counter()
        return {
            "ttfa_ms": (first - began) * 1e3,
            "total_ms": (end - began) * 1e3,
            "audio_s": samples / self.engine.sample_rate_hz,
        }

    def package(self, text: str, reference_s: float, steps: int, seed: int) -> Any:
        """Return what the package's `infer_batch_process` makes of `text`, chunked as by `infer_process`."""
        return next(self._package(text, reference_s, steps, seed))[0]

    def _package(self, text: str, reference_s: float, steps: int, seed: int, **more: Any) -> Iterator[Any]:
        voice = self.engine._voices[str(reference_s)]
        seed_everything(seed)
        budget = f5_chunking.budget_bytes(voice.text, voice.seconds, 1.0)
        chunks = utils_infer.chunk_text(text, max_chars=budget)
        speech: Iterator[Any] = utils_infer.infer_batch_process(
            (voice.audio, self.engine.sample_rate_hz), voice.text, chunks, self.engine._model,
            self.engine._vocoder, progress=None, nfe_step=steps, device=utils_infer.device, **more,
        )  # fmt: skip
        return speech

    def _socket_take(self, text: str, reference_s: float, steps: int, seed: int) -> tuple[float, float, int]:
        from f5_tts import socket_server

        voice = self.engine._voices[str(reference_s)]
        server = self.socket
        server.audio, server.sr, server.ref_text = voice.audio, self.engine.sample_rate_hz, voice.text
        rate = len(voice.text.encode()) / voice.seconds * (25 - voice.seconds)  # socket_server.py:108-113
        server.max_chars, server.few_chars, server.min_chars = int(rate), int(rate / 2), int(rate / 4)
        server.first_package = True
        sent: list[tuple[float, int]] = []

        class Connection:
            def sendall(self, data: bytes) -> None:
                if data != b"END":
                    sent.append((time.perf_counter(), len(data) // struct.calcsize("f")))

        solve = socket_server.infer_batch_process
        socket_server.infer_batch_process = lambda *a, **k: solve(*a, **(k | {"nfe_step": steps}))
        try:
            seed_everything(seed)
            server.generate_stream(text, Connection())
        finally:
            socket_server.infer_batch_process = solve
        return sent[0][0], sent[-1][0], sum(samples for _, samples in sent)


def voiced(seconds: float) -> Any:
    """Return harmonics that swell as syllables do, float32 (n,) at 24 kHz: nobody's voice."""
    t = np.arange(round(seconds * 24000)) / 24000
    tone = sum(np.sin(2 * np.pi * 140.0 * k * t) / k for k in range(1, 20))
    return (0.15 * tone * (0.6 + 0.4 * np.sin(2 * np.pi * 4.0 * t))).astype(np.float32)


def words(seconds: float) -> str:
    """Return about 15 bytes of text a second."""
    text = (WORDS + " ") * 2
    return text[: round(seconds * 15)].strip() + "."


def compare(bench: Bench, texts: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return, by text, how far our audio is from the package's with one worker thread and the same seed."""
    bench.engine._chunker = lambda chunks: chunks
    original = utils_infer.ThreadPoolExecutor

    def one_worker(*_: Any, **__: Any) -> Executor:
        return ThreadPoolExecutor(max_workers=1)

    found = []
    for number, text in enumerate((*texts, LONG)):
        bench.set_steps(32)
        utils_infer.ThreadPoolExecutor = one_worker
        try:
            theirs = bench.package(text, 10.0, 32, number).astype(np.float32)
        finally:
            utils_infer.ThreadPoolExecutor = original
        ours = np.concatenate(list(bench.engine.synthesise(SpeechRequest(text, "10.0", seed=number))))
        same = ours.shape == theirs.shape
        found.append({
            "text": text[:40],
            "chunks": len(bench.engine.chunks(text, "10.0")),
            "samples": len(ours),
            "equal": bool(same and np.array_equal(ours, theirs)),
            "largest_difference": float(np.abs(ours - theirs).max()) if same else None,
            "peak": float(np.abs(theirs).max()),
        })  # fmt: skip
    return found


def memory(bench: Bench, texts: tuple[str, ...]) -> dict[str, Any]:
    """Speak the ten texts with the longer reference; return torch's peaks and NVML's for this process."""
    bench.engine._chunker = lambda chunks: chunks
    with sampled() as peak:
        for number, text in enumerate(texts):
            bench.take("upstream", text, 10.0, 32, number)
    return (bench.engine.memory() or {}) | {"nvml_process_peak_bytes": peak[0]}


def one_evaluation(bench: Bench, repeats: int = 10) -> dict[str, list[float]]:
    """Return milliseconds of two guided evaluations in the calling thread, and in a new thread each time.

    The package's pool is new for every text; this shows what a thread costs that has not used the GPU before.
    """
    found: dict[str, list[float]] = {"calling thread": [], "new thread": []}
    for number in range(repeats):
        for where in found:
            began = time.perf_counter()
            if where == "new thread":
                with ThreadPoolExecutor(max_workers=1) as pool:
                    pool.submit(bench.take, "package in line", TEXTS[2], 6.0, 2, number).result()
            else:
                bench.take("package in line", TEXTS[2], 6.0, 2, number)
            found[where].append((time.perf_counter() - began) * 1e3)
    return found


@contextmanager
def sampled(period_s: float = 0.05) -> Iterator[list[int | None]]:
    """Yield a list whose one element is the peak of this process's GPU memory by NVML; None without NVML."""
    peak: list[int | None] = [None]
    over = threading.Event()

    def sample() -> None:
        try:
            import pynvml

            pynvml.nvmlInit()
            device = pynvml.nvmlDeviceGetHandleByIndex(0)
        except Exception as error:  # noqa: BLE001 - without NVML there is no figure, and null says so
            print(f"no NVML: {error}")
            return
        while not over.wait(period_s):
            mine = [p.usedGpuMemory for p in pynvml.nvmlDeviceGetComputeRunningProcesses(device)
                    if p.pid == os.getpid() and p.usedGpuMemory is not None]  # fmt: skip
            if mine:
                peak[0] = max(peak[0] or 0, *mine)

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def rounds(
    bench: Bench,
    texts: tuple[str, ...],
    plan: list[tuple[int, float, tuple[str, ...]]],
    number: int,
    late: Callable[[], bool],
) -> Iterator[dict[str, Any]]:
    """Yield the takes of one round: every text under every condition of `plan`, the systems next to each other."""
    for index, text in enumerate(texts):
        for steps, reference_s, systems in plan:
            order = systems if (number + index) % 2 == 0 else tuple(reversed(systems))
            for system in order:
                if late():
                    return
                took = bench.take(system, text, reference_s, steps, 1000 * number + index)
                yield {"system": system, "nfe": steps, "reference_s": reference_s, "text": index,
                       "round": number} | took  # fmt: skip
        gc.collect()


def summarise(takes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row per condition, with medians over the takes and the median paired ratio to the package."""
    rows = []
    keyed = {(t["system"], t["nfe"], t["reference_s"], t["text"], t["round"]): t for t in takes}
    for system in SYSTEMS:
        for steps in NFES:
            for reference_s in REFERENCES:
                of = [
                    t
                    for t in takes
                    if (t["system"], t["nfe"], t["reference_s"]) == (system, steps, reference_s)
                ]
                if not of:
                    continue
                against = {}
                for name, other in (("package", SYSTEMS[0]), ("in_line", SYSTEMS[1])):
                    keys = [(other, steps, reference_s, t["text"], t["round"]) for t in of]
                    ratios = [
                        t["total_ms"] / keyed[k]["total_ms"]
                        for t, k in zip(of, keys, strict=True)
                        if k in keyed
                    ]
                    against[f"total_over_{name}_p50"] = statistics.median(ratios) if ratios else None
                    against[f"total_over_{name}_95"] = interval(ratios)
                rows.append({
                    "system": system, "nfe": steps, "reference_s": reference_s, "takes": len(of),
                    "ttfa_p50_ms": statistics.median(t["ttfa_ms"] for t in of),
                    "ttfa_p95_ms": float(np.percentile([t["ttfa_ms"] for t in of], 95)),
                    "total_p50_ms": statistics.median(t["total_ms"] for t in of),
                    "rtf_p50": statistics.median(t["total_ms"] / 1e3 / t["audio_s"] for t in of),
                } | against)  # fmt: skip
    return rows


def interval(values: list[float]) -> list[float] | None:
    """Return the 95% bootstrap interval of the median; None for fewer than five values."""
    if len(values) < 5:
        return None
    draws = np.random.default_rng(0).choice(np.array(values), (4000, len(values)))
    return [float(v) for v in np.percentile(np.median(draws, axis=1), [2.5, 97.5])]


def table(result: dict[str, Any]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| way | NFE | reference | takes | TTFA p50 | p95 | total p50 | RTF p50 | total / package | / in line |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in result["rows"]:
        ratios = []
        for name in ("package", "in_line"):
            middle, bounds = r[f"total_over_{name}_p50"], r[f"total_over_{name}_95"]
            ratios.append("-" if middle is None else f"{middle:.3f}")
            if bounds:
                ratios[-1] += f" ({bounds[0]:.3f} to {bounds[1]:.3f})"
        lines.append(
            f"| {r['system']} | {r['nfe']} | {r['reference_s']:.0f} s | {r['takes']} | {r['ttfa_p50_ms']:.0f} ms "
            f"| {r['ttfa_p95_ms']:.0f} ms | {r['total_p50_ms']:.0f} ms | {r['rtf_p50']:.3f} "
            f"| {ratios[0]} | {ratios[1]} |"
        )
    equal = sum(c["equal"] for c in result["against_package"])
    worst = max((c["largest_difference"] or 0.0) for c in result["against_package"])
    lines += ["", f"Same seed: {equal} of {len(result['against_package'])} texts equal sample for sample; "
                  f"largest difference {worst:.3g}.", f"Memory: {result['memory']}",
        f"Two steps, ms: { {k: round(statistics.median(v), 1) for k, v in result['step_ms'].items()} }"]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Run the benchmark and write `bench_f5.json` and `bench_f5.md`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=2, help="takes of each text in each condition")
    parser.add_argument(
        "--extra", type=int, default=2, help="more rounds of ours against the package, NFE 32"
    )
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no take later than this")
    parser.add_argument("--tiny", action="store_true", help="a tiny model and two texts, to try the script")
    options = parser.parse_args()
    began = time.monotonic()
    texts = TEXTS[1:3] if options.tiny else TEXTS
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # socket_server writes output.wav where it stands
        weights = Path(scratch) / "weights"
        (tiny_f5.build if options.tiny else tiny_f5.build_full_size)(weights)
        bench = Bench(weights, tiny_f5.ARCH if options.tiny else None)
    result: dict[str, Any] = {
        "device": bench.info.device, "settings": bench.engine.read_back(), "python": platform.python_version(),
        "random_weights": True, "texts": texts, "loaded_s": time.monotonic() - began,
    }  # fmt: skip
    print(f"loaded after {result['loaded_s']:.0f} s", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        result["memory"] = memory(bench, texts)
        result["against_package"] = compare(bench, texts)
        result["step_ms"] = one_evaluation(bench)
        for text in texts:  # lengths met for the first time load kernels
            for reference_s in REFERENCES:
                for system in SYSTEMS:
                    bench.take(system, text, reference_s, 2, 0)
        print(f"warm after {time.monotonic() - began:.0f} s", flush=True)
        grid: list[tuple[int, float, tuple[str, ...]]] = [
            (steps, reference_s, SYSTEMS) for steps in NFES for reference_s in REFERENCES
        ]
        closer: list[tuple[int, float, tuple[str, ...]]] = [(32, 10.0, SYSTEMS[:3])]
        takes: list[dict[str, Any]] = []
        for number in range(options.rounds + options.extra):
            plan = grid if number < options.rounds else closer
            takes += rounds(bench, texts, plan, number, lambda: time.monotonic() - began > options.seconds)
            print(f"round {number} after {time.monotonic() - began:.0f} s", flush=True)
        os.chdir("/")
    result |= {"rows": summarise(takes), "takes": takes}
    (options.out / "bench_f5.json").write_text(json.dumps(result, indent=1))
    (options.out / "bench_f5.md").write_text(table(result) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
