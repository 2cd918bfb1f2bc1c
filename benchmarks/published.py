"""What does it cost that a published server runs in a container of ours, beside the same server as its owner runs it?

Run: `python -m benchmarks.published ENTRY.yml URL [--takes N] [--json PATH]`.

ENTRY.yml is a catalog entry of kind image whose image is on this host (`audition try` fetches it); URL is where the
same server answers outside. Both stay up, and each of the standard sentences is asked of both, one right after the
other, each first in turn: what else the machine does meets both alike. Exits with 1 where a take failed.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.catalog.entry import Entry, ImageRun
from bench.catalog.loader import read as read_entry
from bench.client.takes import TAKES_FILE, run_takes
from bench.client.target import Target, Voice
from bench.engines.launch import LaunchSpec, launch
from bench.errors import AuditionError, BadInput
from bench.inputs import utterances
from bench.records.run import Utterance
from bench.records.take import Take
from bench.storage.atomic import write_atomically
from bench.storage.clock import utc_now
from benchmarks.rows import Row, row, table

AREA = "published"
SENTENCES = Path(utterances.__file__).with_name("utterances.txt")
FIGURES = ("ttfa_ms", "total_ms")


def measure(entry: Entry, url: str, takes: int) -> list[Row]:
    """Return the rows: each figure's median on either side, and the median of the differences by sentence.

    Raises:
        BadInput: an entry of another kind, or its image is not on this host.
        AuditionError: a server cannot be used.
    """
    run = entry.run
    if not isinstance(run, ImageRun):
        raise BadInput(f"{entry.name} is no published image (run.kind: image).")
    said = list(utterances.read(SENTENCES))
    voice = Voice(name=run.voice)
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="audition-bench-") as scratch:
        spec = LaunchSpec(
            entry=entry, profile="upstream", run_id="benchmark", install="image", log=Path(scratch) / "log"
        )
        with launch(spec) as engine:
            targets = [Target.from_run(run, engine.url), Target.from_run(run, url)]
            both: list[list[Take]] = [[], []]
            for number in range(takes):
                one = said[number % len(said)]
                for side in (0, 1) if number % 2 == 0 else (1, 0):
                    out = Path(scratch) / f"{side}-{number}"
                    asked = [Utterance(id=one.id, text=one.text)]
                    run_takes(targets[side], asked, voice, out, warmups=int(number == 0), seed=1)
                    both[side].append(_last(out))
        pairs = [pair for pair in zip(*both, strict=True) if all(take.error is None for take in pair)]
        errors = [str(take.error) for side in both for take in side if take.error is not None]
        return [
            row(AREA, "load average over 1 minute, before", before, ""),
            row(AREA, "load average over 1 minute, after", os.getloadavg()[0], ""),
            row(AREA, "sentences, said by both", float(len(pairs)), "", failed=len(errors), errors=errors),
            row(AREA, "the container is ready after", engine.start_s, "s"),
            *(each for figure in FIGURES for each in _compare(figure, pairs)),
        ]


def _last(out: Path) -> Take:
    return Take.model_validate_json((out / TAKES_FILE).read_text(encoding="utf-8").splitlines()[-1])


def _compare(figure: str, pairs: Sequence[Sequence[Take]]) -> list[Row]:
    found = np.array([[float(getattr(take, figure)) for take in pair] for pair in pairs]).reshape(-1, 2)
    if not len(found):
        return []
    more = found[:, 0] - found[:, 1]
    low, high = (float(each) for each in np.percentile(more, [25, 75]))
    return [
        row(AREA, f"{figure}: in a container, median", float(np.median(found[:, 0])), "ms"),
        row(AREA, f"{figure}: by http, median", float(np.median(found[:, 1])), "ms"),
        row(
            AREA,
            f"{figure}: the container's more, median",
            float(np.median(more)),
            "ms",
            quartiles=[low, high],
        ),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 1 when a take failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("entry", type=Path, help="catalog entry of kind image")
    parser.add_argument("url", help="root of the same server outside, http://host:port")
    parser.add_argument("--takes", type=int, default=20, help="sentences, said by both (default: 20)")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args(arguments)
    try:
        rows = measure(read_entry(options.entry), options.url, options.takes)
    except AuditionError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    ok = all(each["ok"] is not False for each in rows)
    if options.json is not None:
        written = {"utc": utc_now(), "ok": ok, "rows": rows}
        write_atomically(options.json, (json.dumps(written, indent=2) + "\n").encode())
    sys.stdout.write(table(rows) + "\n")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
