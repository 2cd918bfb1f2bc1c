"""Takes of real engines: our own server through each dialect and in each way a voice travels.

Run: `python -m benchmarks.engines [--quick]`.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.catalog.loader import load
from bench.client.takes import TAKES_FILE, run_takes
from bench.client.target import Target, Voice
from bench.engines.launch import LaunchSpec, launch
from bench.inputs.demo_reference import SENTENCES, make
from bench.records.run import Utterance
from bench.records.take import Take
from bench.summaries.summary import summarise
from benchmarks.rows import Row, row, table

AREA = "engines"
OWN = ("openai", "openai_wav", "openai_sse", "openai_file")
ENGINES = ("espeak", "flite")


def takes_row(name: str, target: Target, voice: Voice, texts: tuple[str, ...]) -> Row:
    """Return the median TTFA of one pass; `failed` counts the takes that brought no audio."""
    said = (Utterance(id=f"u{index:02d}", text=text) for index, text in enumerate(texts))
    with tempfile.TemporaryDirectory(prefix="audition-bench-") as scratch:
        result = run_takes(target, said, voice, Path(scratch))
        lines = (Path(scratch) / TAKES_FILE).read_text(encoding="utf-8").splitlines()
    takes = [take for take in map(Take.model_validate_json, lines) if not take.warmup]
    good = [take for take in takes if take.error is None]
    return row(
        AREA,
        f"{name}: TTFA median",
        summarise(take.ttfa_ms for take in good).p50,
        "ms",
        failed=len(takes) - len(good),
        takes=len(takes),
        rtf_p50=summarise(take.rtf for take in good).p50,
        streamed=sorted({str(take.streamed) for take in good}),
        dialect=result.detection.dialect,
        container=result.detection.container,
        errors=result.failed,
    )


def own_server(texts: tuple[str, ...]) -> Iterator[Row]:
    """Yield a row for each engine, dialect and way of the voice."""
    with tempfile.TemporaryDirectory(prefix="audition-bench-") as name:
        scratch = Path(name)
        reference = make(scratch)[0]
        for engine in ENGINES:
            entry = load(engine)
            spec = LaunchSpec(entry, "upstream", "bench", "system", scratch / f"{engine}.log")
            with launch(spec) as served:
                assert entry.preset is not None
                for dialect in (*OWN, "auto"):
                    voices = {"preset voice": Voice.by_name(entry.preset.name)}
                    if dialect != "openai_file":  # which carries no reference
                        transcript = " ".join(SENTENCES)
                        voices["registered"] = Voice.clone(reference, transcript)
                        voices["sent with each request"] = Voice.clone(reference, transcript, how="request")
                    for way, voice in voices.items():
                        target = Target(served.url, dialect=dialect)
                        yield takes_row(f"own server, {engine}, {dialect}, {way}", target, voice, texts)


def measure(*, quick: bool = False) -> list[Row]:
    """Return every row."""
    texts = SENTENCES[:2] if quick else SENTENCES
    return list(own_server(texts))


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 when a take failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two sentences a mode")
    rows = measure(quick=parser.parse_args(arguments).quick)
    sys.stdout.write(table(rows) + "\n")
    return 0 if all(each["ok"] is not False for each in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
