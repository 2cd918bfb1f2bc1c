"""What reads bytes that others wrote: each with what it is good for, its words, and the errors that it documents."""

import io
import json
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from bench.audio.wav import encode_wav_16bit, read_mono
from bench.catalog import loader
from bench.client.bodies import decode
from bench.client.faults import TakeFault
from bench.client.replies import error_text
from bench.commands.schema import FILES
from bench.errors import AuditionError, BadInput
from bench.inputs import clip, rights, transcript, utterances
from bench.inputs.clip_manifest import Recording
from bench.jobs.archive import unpack
from bench.jobs.follow import follow
from bench.listening import mapping, marks, salvage
from bench.neighbour.lease_files import DamagedFile, LeaseDirectory
from bench.neighbour.watcher import watcher
from bench.records.base import FileRecord
from bench.serving.adapter import BadReference
from bench.serving.cosyvoice2 import recipe
from bench.serving.limits import TooLarge, check_audio
from bench.storage.record_file import load_record, record_bytes
from bench.verdict.collect import read_rule, read_takes, read_unusable
from tests.support.docker import REPOSITORY
from tests.support.sound import RATE, pcm, wav

JSON_WORDS = (
    b"[", b"{", b'"', b":", b",", b"null", b"true", b"1e400", b"9" * 400, b'{"a":', b'"\\ud800"', b"[[]]", b"-Infinity",
)  # fmt: skip
YAML_WORDS = (
    b"&a ", b"*a", b"[*a, *a]", b"<<: *a\n", b"!!bool ", b"!!timestamp ", b"!!int ", b"!!float ", b"!!binary ",
    b"!!python/name:os.system ", b"!!set ", b"? ", b"- ", b": ", b"a: 1\n", b"{", b"[", b"'", b"|\n", b"---\n", b"%",
    b"2001-99-99", b"0x", b"1:30", b".inf", b"\t", b"&b [*a, *a, *a, *a]\n",
)  # fmt: skip
SOUND_WORDS = (
    b"RIFF",
    b"WAVE",
    b"fmt ",
    b"data",
    b"ds64",
    b"fLaC",
    b"OggS",
    b"ID3",
    b"\xff\xfb\x90\x64",
    b"\x7f" * 4,
)
TEXT_WORDS = (
    b"00:00:01.000 --> 00:00:02.000\n", b"-->", b"WEBVTT\n", b"1\n", b"[0:01]", b"SPEAKER_00:", b"start\tend\ttext\n",
    b"\t", b"#", b"<i>", b"99999999:00", b"NOTE\n",
)  # fmt: skip
SSE_WORDS = (
    b"data: ",
    b"event: error\n",
    b"\n\n",
    b'{"audio":"AAAA"}',
    b'{"choices":[{"delta":{"audio":',
    b"[DONE]",
    b"\r",
    b":",
)
HEADER_WORDS = (b"ustar", b"\x80\0\0\0", b"0000000777\0", b"../", b"5", b"2", b"x", b"30 mtime=1\n")


@dataclass(frozen=True)
class Parser:
    """One reader of bytes."""

    read: Callable[[bytes, Path], object]
    """Given the bytes and an empty folder; returns what it made of them."""
    errors: tuple[type[Exception], ...]
    """What it documents that it raises."""
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...]


def _in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def reader(data: bytes, folder: Path) -> object:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return read(path)

    return reader


def _body(headers: dict[str, str], rate_hz: int | None = None) -> Callable[[bytes, Path], object]:
    def reader(data: bytes, _: Path) -> object:
        half = len(data) // 2
        pieces = [(1, data[:half]), (2, data[half:])]
        found = decode(headers, pieces, rate_hz)
        assert found.samples().size, "success without a sample"
        return found

    return reader


def _record(kind: type[FileRecord]) -> Callable[[bytes, Path], object]:
    def reader(data: bytes, folder: Path) -> object:
        (folder / kind.file_name).write_bytes(data)
        found = load_record(kind, folder)
        (folder / kind.file_name).write_bytes(record_bytes(found))
        assert record_bytes(load_record(kind, folder)) == record_bytes(found), (
            "not the same when written again"
        )
        return found

    return reader


def _lease(data: bytes, folder: Path) -> object:
    for name in ("lease.json", "renewal.json", "status.json", "history.jsonl"):
        (folder / name).write_bytes(data)
    (folder / "boot_id").write_text("boot")
    directory = LeaseDirectory(folder, folder / "boot_id")
    directory.status(), directory.history(), directory.renewed_s_ago(), directory.find_id("chat")
    return directory.terms()


def _salvage(data: bytes, _: Path) -> object:
    return [*salvage.rows_in_database(data), *salvage.rows_in_wal(data)]


def _recipe(path: Path) -> object:
    recipe.check(path)
    return None


def _tar(data: bytes, folder: Path) -> object:
    (folder / "sent.tar").write_bytes(data)
    unpack(folder / "sent.tar", folder / "in", len(data))
    held = sum(path.stat().st_size for path in (folder / "in").rglob("*") if path.is_file())
    assert held <= len(data), "more than was sent"
    return held


def _flac() -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.zeros(2400, np.float32), RATE, format="FLAC")
    return out.getvalue()


def _packed() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in (("out/a.wav", b"1" * 600), ("out/" + "é" * 120, b"2"), ("result.json", b"{}")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


@cache
def _kept() -> dict[str, bytes]:
    """Return the files of the runs that 0.1.0 left, by their names."""
    found: dict[str, bytes] = {}
    with tarfile.open(REPOSITORY / "tests/data/runs-0.1.0.tar.xz") as archive:
        for member in archive:
            if member.isfile() and not member.name.endswith((".wav", ".svg", ".html", ".md")):
                stream = archive.extractfile(member)
                assert stream is not None
                found.setdefault(Path(member.name).name, stream.read())
    return found


LEASE = json.dumps({
    "lease_id": "l", "run_id": "r", "state": "held", "reason": None, "touched": True, "watcher_starts": 1,
    "stopped_boottime_s": 1.0, "started_boottime_s": None, "paused_s": None, "start_attempts": 0,
    "terms": {"container": "chat", "container_id": "c"}, "engines_ended": [], "floor_reached": None,
    "available_bytes_at_start": None, "policy_restored": None, "ready": None, "ended_utc": None, "events": [],
    "boot_id": "boot", "boottime_s": 1.0,
}).encode()  # fmt: skip
SSE = b'data: {"type":"speech.audio.delta","audio":"AAAAAA=="}\n\nevent: x\ndata: {"type":"speech.audio.done"}\n\n'
VTT = b"WEBVTT\n\n1\n00:00:00.000 --> 00:00:02.000\n<v Ann>One two three.\n\n00:02.000 --> 00:03.000\nFour.\n"
SAID = b'{"segments":[{"start":0,"end":1.5,"text":"One two.","words":[{"word":"One","start":0,"end":1}]}]}'
MANIFEST = b'{"file":"a.wav","start":0,"end":1,"text":"One."}\n{"file":"b.wav","offset":0,"duration":2,"text":"Two."}\n'


def make() -> dict[str, Parser]:
    """Return every parser by a name for people."""
    clip_seeds = (
        wav(pcm(0.05)),
        wav(pcm(0.05), size=0xFFFFFFFF),
        _flac(),
        encode_wav_16bit(np.zeros(9, np.float32), RATE),
    )
    recording = Recording("a.wav", 3.0)
    entry = Path(loader.__file__).with_name("f5.yml").read_bytes()
    found = {
        "a sound": Parser(_in_file("a.wav", read_mono), (BadInput,), clip_seeds, SOUND_WORDS),
        "a reference's header": Parser(_in_file("a.wav", clip.check_header), (BadInput,), clip_seeds, SOUND_WORDS),
        "a reference sent to an engine": Parser(
            lambda data, _: check_audio(data), (BadReference, TooLarge), clip_seeds, SOUND_WORDS
        ),
        "an answer of samples": Parser(
            _body({"content-type": "audio/pcm;rate=24000"}), (TakeFault,), (pcm(0.05),), (*SOUND_WORDS, *SSE_WORDS)
        ),
        "an answer of a file": Parser(_body({"content-type": "audio/wav"}), (TakeFault,), clip_seeds[:2], SOUND_WORDS),
        "an answer of events": Parser(
            _body({"content-type": "text/event-stream"}, RATE), (TakeFault,), (SSE,), (*SSE_WORDS, *JSON_WORDS)
        ),
        "an error's body": Parser(
            lambda data, _: error_text(data), (), (b'{"error":{"message":"no"}}', b"<html>no</html>"), JSON_WORDS
        ),
        "a transcript": Parser(
            _in_file("said.txt", lambda path: transcript.read(path, recording)),
            (BadInput,), (VTT, SAID, MANIFEST, b"0:01 Ann: One.\n0:02 Bob: Two.\n", b"One two three."),
            (*TEXT_WORDS, *JSON_WORDS),
        ),
        "utterances": Parser(
            _in_file("u.txt", lambda path: list(utterances.read(path))),
            (BadInput,), (b"u1\tOne.\n# no\nTwo.\n",), TEXT_WORDS,
        ),
        "a rights statement": Parser(
            _in_file("r.yml", lambda path: rights.read(path, "0" * 64)),
            (BadInput,), (_kept()["voice.rights.yml"],), YAML_WORDS,
        ),
        "a catalog entry": Parser(_in_file("f5.yml", loader.read), (BadInput,), (entry,), YAML_WORDS),
        "a rule": Parser(_in_file("rule.yml", read_rule), (BadInput,), (_kept()["rule.yml"],), YAML_WORDS),
        "a recipe of CosyVoice 2": Parser(
            _in_file("cosyvoice2.yaml", _recipe), (BadInput,), (b"a: !ref <b>\nb: [1, {c: 2}]\n",), YAML_WORDS
        ),
        "takes": Parser(
            _in_file("takes.jsonl", lambda path: read_takes(path.parent)),
            (BadInput,), (_kept()["takes.jsonl"],), JSON_WORDS,
        ),
        "unusable takes": Parser(
            _in_file("listening/unusable.json", lambda path: read_unusable(path.parent.parent)),
            (BadInput,), (b"[]",), JSON_WORDS,
        ),
        "sealed pairs": Parser(
            _in_file("listening/sealed.json", lambda path: mapping.load(path.parent.parent)),
            (mapping.SealBroken,), (_kept()["sealed.json"],), JSON_WORDS,
        ),
        "what sealing found": Parser(
            _in_file("listening/seal.json", lambda path: mapping.read_report(path.parent.parent)),
            (mapping.SealBroken,), (_kept()["seal.json"],), JSON_WORDS,
        ),
        "a rater's mark": Parser(
            _in_file("listening/marks/r.json", lambda path: marks.read(path.parents[2], "r")),
            (), (b'{"finished_utc":null,"revisions":{"t":1}}',), JSON_WORDS,
        ),
        "a damaged log of ratings": Parser(_salvage, (), (_kept()["ratings.sqlite3"],), (b"\x0d", b"\xff" * 9)),
        "a lease's files": Parser(_lease, (DamagedFile,), (LEASE,), JSON_WORDS),
        "what the watcher reads": Parser(
            _in_file("lease.json", watcher.read_json), (ValueError,), (LEASE,), JSON_WORDS
        ),
        "a job's progress": Parser(
            _in_file("progress.jsonl", lambda path: follow(path.parent, 0)),
            (), (b'{"text":"one"}\n{"text":"two"}\n',), JSON_WORDS,
        ),
        "a tar": Parser(_tar, (AuditionError,), (_packed(),), HEADER_WORDS),
    }  # fmt: skip
    for kind in (each.model for each in FILES):
        if issubclass(kind, FileRecord) and kind.file_name in _kept():
            found[f"{kind.file_name} of a run"] = Parser(
                _record(kind), (BadInput,), (_kept()[kind.file_name],), JSON_WORDS
            )
    return found


PARSERS = make()


def hold(parser: Parser, data: bytes) -> None:
    """Read `data` and let through no error but those documented; each of them says something."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            parser.read(data, Path(folder))
        except parser.errors as error:
            assert str(error).strip(), "an error without a word"
            assert not isinstance(error, UnicodeError | RecursionError), error
