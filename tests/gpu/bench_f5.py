"""F5-TTS on a GPU: time to first audio, real-time factor and memory, beside the package's own two ways.

The weights are random and of full size: what they hold does not change what a solve costs. The voices are
arithmetic. Several ways to speak are timed in turn on one loaded model, take by take, in an order that moves on
with each text and turns around each round, so that a drift of the machine meets all of them alike:

- `package`: `infer_batch_process` as `infer_process` calls it: in a thread of a new pool, and nothing is heard
  before the whole text is done;
- `package in line`: its `streaming=True`, which solves in the calling thread, without slicing what is done;
- `socket`: `TTSStreamingProcessor.generate_stream` of the package's socket_server, with its chunking (the
  model in the precision of the others; as shipped that server would run it in float32);
- `upstream` and `first clause`: our adapter, with the package's chunking and with ours;
- `graphed` and `graphed, first clause`: the same in CUDA graphs; before them, their step alone by length against the
  floor that this device's matrix product sets (`f5_steps`).

Run it as `python -m tests.gpu.bench_f5 --out DIR`; `--tiny` tries it without a GPU. It ends with the criteria
(`f5_judge.judge`) and exits 1 when one is not met.
"""

import argparse
import gc
import json
import logging
import os
import platform
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tests.gpu.stand_ins import leave_out_what_is_missing

NOT_INSTALLED = leave_out_what_is_missing()

from bench.serving.adapter import SpeechRequest  # noqa: E402
from bench.serving.f5 import chunking  # noqa: E402 - after the stand-ins
from bench.serving.f5.adapter import F5, LONGEST_CHUNK_S  # noqa: E402
from bench.serving.f5.chunk import ChunkSpeaker  # noqa: E402
from bench.serving.f5.graphed import GraphedFlow  # noqa: E402
from bench.serving.f5.package import seed_everything, torch, utils_infer  # noqa: E402
from bench.serving.f5.vocoder import GraphedVocoder  # noqa: E402
from tests.gpu import f5_steps  # noqa: E402
from tests.gpu.f5_judge import (  # noqa: E402
    FIRST_CLAUSE,
    GRAPHED,
    GRAPHED_FIRST,
    IN_LINE,
    MIN_TAKES,
    PACKAGE,
    SOCKET,
    SYSTEMS,
    UPSTREAM,
    judge,
    order,
    summarise,
    table,
)
from tests.gpu.nvml_peak import NvmlPeak  # noqa: E402
from tests.support import tiny_f5  # noqa: E402
from tests.support.voiced import voiced  # noqa: E402

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


class Bench:
    """One loaded model and the ways to speak with it."""

    def __init__(self, weights: Path, arch: dict[str, Any] | None) -> None:
        """Load the adapter as profile `upstream` and register the two references."""
        self.engine = F5()
        self.info = self.engine.load({"arch": arch} if arch else {}, tiny_f5.pinned(weights))
        for seconds in REFERENCES:
            with tempfile.TemporaryDirectory() as scratch:
                clip = Path(scratch) / "reference.wav"
                soundfile.write(clip, voiced(seconds - 0.05), 24000, subtype="PCM_16")
                self.engine.register(str(seconds), clip, words(seconds))
        self.socket = self._socket_server()
        self.graphed: Any = None

    def capture(self) -> float:
        """Capture the graphs for every length there can be; return the seconds it took."""
        began = time.perf_counter()
        flow = GraphedFlow(self.engine._model, self.engine._infer.keywords["cfg_strength"])
        self.graphed = ChunkSpeaker(flow, GraphedVocoder(self.engine._vocoder))
        longest = int(LONGEST_CHUNK_S * self.engine.sample_rate_hz / utils_infer.hop_length)
        for seconds in REFERENCES:
            self.graphed.prepare(self.engine._voices[str(seconds)], longest)
        return time.perf_counter() - began

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
        if system == PACKAGE:
            wave = self.package(text, reference_s, steps, seed)
            first = end = time.perf_counter()
            samples = len(wave)
        elif system == IN_LINE:
            first, samples = 0.0, 0
            for piece, _ in self._package(text, reference_s, steps, seed, streaming=True, chunk_size=2**62):
                first = first or time.perf_counter()
                samples += len(piece)
            end = time.perf_counter()
        elif system == SOCKET:
            first, end, samples = self._socket_take(text, reference_s, steps, seed)
        else:
            first_clause = system in (FIRST_CLAUSE, GRAPHED_FIRST)
            self.engine._chunker = chunking.first_clause if first_clause else lambda chunks: chunks
            self.engine._flow = self.graphed if system in (GRAPHED, GRAPHED_FIRST) else self.engine._model
            first = 0.0
            samples = 0
            for piece in self.engine.synthesise(SpeechRequest(text, str(reference_s), seed=seed)):
                first = first or time.perf_counter()
                samples += len(piece)
            end = time.perf_counter()
            self.engine._flow = self.engine._model
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
        budget = chunking.budget_bytes(voice.text, voice.seconds, 1.0)
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


def words(seconds: float) -> str:
    """Return about 15 bytes of text a second."""
    text = (WORDS + " ") * 2
    return text[: round(seconds * 15)].strip() + "."


def compare(bench: Bench, texts: tuple[str, ...], steps: int, reference_s: float) -> list[dict[str, Any]]:
    """Return, by text, how far our audio is from the package's with one worker thread and the same seed."""
    bench.engine._chunker = lambda chunks: chunks
    original = utils_infer.ThreadPoolExecutor

    def one_worker(*_: Any, **__: Any) -> Executor:
        return ThreadPoolExecutor(max_workers=1)

    voice = str(reference_s)
    found = []
    for number, text in enumerate((*texts, LONG)):
        bench.set_steps(steps)
        utils_infer.ThreadPoolExecutor = one_worker
        try:
            theirs = bench.package(text, reference_s, steps, number).astype(np.float32)
        finally:
            utils_infer.ThreadPoolExecutor = original
        ours = np.concatenate(list(bench.engine.synthesise(SpeechRequest(text, voice, seed=number))))
        same = ours.shape == theirs.shape
        found.append({
            "nfe": steps,
            "reference_s": reference_s,
            "text": text[:40],
            "chunks": len(bench.engine.chunks(text, voice)),
            "samples": len(ours),
            "equal": bool(same and np.array_equal(ours, theirs)),
            "largest_difference": float(np.abs(ours - theirs).max()) if same else None,
            "peak": float(np.abs(theirs).max()),
        })  # fmt: skip
    return found


def mel_difference(bench: Bench, text: str, steps: int, reference_s: float) -> dict[str, Any]:
    """Return how far the graphed solver's mel is from the package's, relative, for one seed.

    Beside it, how far the package's own is from what it makes in float32 of the same weights and noise.
    """

    def mel(flow: Any) -> Any:
        made = []

        class Recorder:
            def sample(self, **keywords: Any) -> Any:
                made.append(flow.sample(**keywords))
                return made[-1]

        kept, bench.engine._flow = bench.engine._flow, Recorder()
        bench.engine._chunker = lambda chunks: chunks
        bench.set_steps(steps)
        try:
            for _ in bench.engine.synthesise(SpeechRequest(text, str(reference_s), seed=1)):
                pass
        finally:
            bench.engine._flow = kept
        return made[0][0].float()

    class Noise:
        """The same noise in float32 as was drawn in the precision in use."""

        def sample(self, **keywords: Any) -> Any:
            with torch.random.fork_rng():
                draw, dtype = torch.randn, next(bench.engine._model.parameters()).dtype
                torch.randn = lambda *size, **k: draw(*size, **(k | {"dtype": dtype})).float()
                bench.engine._model.float()
                try:
                    return bench.engine._model.sample(**keywords)
                finally:
                    torch.randn = draw
                    bench.engine._model.to(dtype)

    theirs = mel(bench.engine._model)

    def relative(other: Any) -> float:
        return float((other - theirs).norm() / theirs.norm())

    return {"nfe": steps, "reference_s": reference_s, "graphed": relative(mel(bench.graphed.flow)),
            "package_in_float32": relative(mel(Noise()))}  # fmt: skip


def memory(
    bench: Bench, nvml: NvmlPeak, texts: tuple[str, ...], system: str, steps: int, reference_s: float
) -> dict[str, Any]:
    """Speak the texts by `system`; return torch's peaks and NVML's, counted from the loaded model."""
    bench.engine._chunker = lambda chunks: chunks
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # else the reserved peak would be an earlier condition's
        torch.cuda.reset_peak_memory_stats()
    with nvml.sampled() as peak:
        for number, text in enumerate(texts):
            bench.take(system, text, reference_s, steps, number)
    torch_peaks = bench.engine.memory() or {}
    return {"system": system, "nfe": steps, "reference_s": reference_s} | torch_peaks | peak.figure()


def one_evaluation(bench: Bench, repeats: int) -> dict[str, list[float]]:
    """Return milliseconds of two guided evaluations in the calling thread, and in a new thread each time.

    The package's pool is new for every text; this shows what a thread costs that has not used the GPU before.
    """
    found: dict[str, list[float]] = {"calling thread": [], "new thread": []}
    for number in range(repeats):
        for where in found:
            began = time.perf_counter()
            if where == "new thread":
                with ThreadPoolExecutor(max_workers=1) as pool:
                    pool.submit(bench.take, IN_LINE, TEXTS[2], 6.0, 2, number).result()
            else:
                bench.take(IN_LINE, TEXTS[2], 6.0, 2, number)
            found[where].append((time.perf_counter() - began) * 1e3)
    return found


def rounds(
    bench: Bench,
    texts: tuple[str, ...],
    plan: Sequence[tuple[int, float, tuple[str, ...]]],
    number: int,
    late: Callable[[], bool],
) -> Iterator[dict[str, Any]]:
    """Yield the takes of one round: every text under every condition of `plan`, the systems next to each other."""
    for index, text in enumerate(texts):
        for steps, reference_s, systems in plan:
            for system in order(systems, number, index):
                if late():
                    return
                took = bench.take(system, text, reference_s, steps, 1000 * number + index)
                yield {"system": system, "nfe": steps, "reference_s": reference_s, "text": index,
                       "round": number} | took  # fmt: skip
        gc.collect()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark, write `bench_f5.json` and `bench_f5.md`; return 1 when a criterion is not met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=2, help="takes of each text in each condition")
    parser.add_argument(
        "--extra", type=int, default=2, help="more rounds of ours against the package in the same thread"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=1e9,
        help="begin no take later than this; may cost the takes criterion",
    )
    parser.add_argument(
        "--tiny",
        action="store_true",
        help="a tiny model, two texts, few steps, to try the script: not judged",
    )
    options = parser.parse_args(arguments)
    texts = TEXTS[1:3] if options.tiny else TEXTS
    nfes = (4, 2) if options.tiny else NFES
    if not options.tiny and options.rounds * len(texts) < MIN_TAKES:
        parser.error(f"--rounds must make at least {MIN_TAKES} takes of {len(texts)} texts")
    began = time.monotonic()
    here = Path.cwd()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    nvml = NvmlPeak()
    with tempfile.TemporaryDirectory() as scratch:
        weights = Path(scratch) / "weights"
        (tiny_f5.build if options.tiny else tiny_f5.build_full_size)(weights)
        bench = Bench(weights, tiny_f5.ARCH if options.tiny else None)
    uuid = getattr(torch.cuda.get_device_properties(0), "uuid", None) if torch.cuda.is_available() else None
    nvml.of(None if uuid is None else str(uuid))
    conditions = [(steps, reference_s) for steps in nfes for reference_s in REFERENCES]
    result: dict[str, Any] = {
        "device": bench.info.device, "settings": bench.engine.read_back(), "python": platform.python_version(),
        "random_weights": True, "tiny": options.tiny, "not_installed": NOT_INSTALLED, "texts": texts,
        "loaded_s": time.monotonic() - began, "against_package": [], "mels": [], "memory": [],
    }  # fmt: skip
    print(
        f"loaded after {result['loaded_s']:.0f} s; left out, for want of: {NOT_INSTALLED or 'nothing'}",
        flush=True,
    )
    takes: list[dict[str, Any]] = []

    def write() -> None:
        result.update(rows=summarise(takes), takes=takes)
        result["judged"] = judge(takes, result["against_package"], result["mels"], conditions)
        result["ended_s"] = time.monotonic() - began
        (out / "bench_f5.json").write_text(json.dumps(result, indent=1))
        steps = f5_steps.table(result["steps"], result["kernels"])
        (out / "bench_f5.md").write_text(f"{steps}\n\n{table(result)}\n")

    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)  # socket_server writes output.wav where it stands
        try:
            for steps, reference_s in conditions:
                result["memory"].append(memory(bench, nvml, texts, UPSTREAM, steps, reference_s))
            result["graphs_s"] = bench.capture()
            result["graphs"], result["kernels"] = bench.graphed.flow.graphs, bench.graphed.flow.kernels
            print(f"{result['graphs']} graphs in {result['graphs_s']:.1f} s", flush=True)
            result["steps"] = f5_steps.measure(bench.graphed.flow)
            print(f5_steps.table(result["steps"], result["kernels"]), flush=True)
            for steps, reference_s in conditions:
                result["memory"].append(memory(bench, nvml, texts, GRAPHED, steps, reference_s))
            for steps, reference_s in conditions:
                result["against_package"] += compare(bench, texts, steps, reference_s)
                result["mels"].append(mel_difference(bench, texts[-1], steps, reference_s))
            result["step_ms"] = one_evaluation(bench, 2 if options.tiny else 10)
            for text in texts:  # lengths met for the first time load kernels
                for reference_s in REFERENCES:
                    for system in SYSTEMS:
                        bench.take(system, text, reference_s, 2, 0)
            print(f"warm after {time.monotonic() - began:.0f} s", flush=True)
            for number in range(options.rounds + options.extra):
                systems = SYSTEMS if number < options.rounds else (IN_LINE, UPSTREAM)
                plan = [(steps, reference_s, systems) for steps, reference_s in conditions]
                takes += rounds(
                    bench, texts, plan, number, lambda: time.monotonic() - began > options.seconds
                )
                write()
                print(f"round {number} after {time.monotonic() - began:.0f} s", flush=True)
        finally:
            os.chdir(here)
    print(f5_steps.table(result["steps"], result["kernels"]))
    print(table(result))
    if options.tiny:
        print("tiny: tried, not judged")
        return 0
    return 0 if all(j["passed"] for j in result["judged"]) else 1


if __name__ == "__main__":
    sys.exit(main())
