"""A small run directory with real speech, sealed or ready to be: for the benchmark and the tests.

The candidate speaks through espeak-ng and the baseline through flite (or any two of `VOICES`), so that what
is processed, sealed and rated is what synthesisers make. Nothing of it needs a model or a network.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import soundfile as sf

from bench.records.run import Inputs, Manifest, Rule
from bench.records.take import Take
from bench.storage.clock import utc_now
from bench.storage.digests import sha256_bytes, sha256_file
from bench.storage.record_file import save_record
from bench.verdict.methods import METHODOLOGY_VERSION

QUESTION = "How much does this sound like the reference speaker?"
SENTENCES = (
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It is easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.",
    "The hogs were fed chopped corn and garbage.",
    "Four hours of steady work faced us.",
    "A large size in stockings is hard to sell.",
)
"""Harvard sentences, list 1 (IEEE Recommended Practice for Speech Quality Measurements, 1969)."""
WORDS = (
    "Yes.",
    "No, thanks.",
    "Go on.",
    "Well done.",
    "Not yet.",
    "Call me.",
    "I see.",
    "Quite so.",
    "Stop.",
    "Hi.",
)
"""Short enough that a whole session takes seconds."""
VOICES = {
    "espeak en-us": ("espeak-ng", "-v", "en-us", "-w", "{wav}", "{text}"),
    "espeak en-us+f4": ("espeak-ng", "-v", "en-us+f4", "-p", "75", "-w", "{wav}", "{text}"),
    "flite slt": ("flite", "-voice", "slt", "-t", "{text}", "-o", "{wav}"),
    "flite rms": ("flite", "-voice", "rms", "-t", "{text}", "-o", "{wav}"),
    "flite kal": ("flite", "-voice", "kal", "-t", "{text}", "-o", "{wav}"),
    "flite awb": ("flite", "-voice", "awb", "-t", "{text}", "-o", "{wav}"),
}


def speak(voice: str, text: str, wav: Path) -> None:
    """Have one of `VOICES` say `text` into `wav`."""
    command = [part.format(wav=wav, text=text) for part in VOICES[voice]]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def build(
    run_dir: Path,
    *,
    texts: Sequence[str] = SENTENCES,
    candidate: str = "espeak en-us",
    baseline: str = "flite slt",
    reference: str | None = "The quick reference says good morning to all of you.",
    rule: Rule | None = None,
) -> Manifest:
    """Make a run directory up to the point where `bench.listening.score.seal` takes over."""
    for side, voice in (("candidate", candidate), ("baseline", baseline)):
        (run_dir / side).mkdir(parents=True)
        lines = []
        for number, text in enumerate(texts, 1):
            wav = run_dir / side / f"u{number:02d}.wav"
            speak(voice, text, wav)
            lines.append(take(f"u{number:02d}", text, wav).model_dump_json())
        (run_dir / side / "takes.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    if reference is not None:
        (run_dir / "reference").mkdir()
        speak("flite rms", reference, run_dir / "reference" / "reference.wav")
    found = manifest(run_dir.name, rule or Rule(pairs=len(texts)))
    (run_dir / "rule.yml").write_text(found.rule.model_dump_json(), "utf-8")  # JSON is YAML
    save_record(found, run_dir)
    return found


def take(utterance_id: str, text: str, wav: Path) -> Take:
    """Return the record of a take that is on disk."""
    info = sf.info(wav)
    return Take(
        utterance_id=utterance_id,
        text=text,
        voice="preset",
        wav=wav.name,
        sha256=sha256_file(wav),
        sample_rate_hz=info.samplerate,
        audio_s=info.duration,
    )


def manifest(run_id: str, rule: Rule) -> Manifest:
    """Return a manifest with what the listening test reads of it."""
    digest = sha256_bytes(rule.model_dump_json().encode())
    question = sha256_bytes(QUESTION.encode())
    inputs = Inputs(
        model="espeak",
        profile="upstream",
        entry_sha256="0" * 64,
        baseline="flite",
        baseline_sha256="0" * 64,
        rule_sha256=digest,
        question_sha256=question,
        reference_sha256="0" * 64,
        utterances_sha256="0" * 64,
        neighbour_mode="none",
        intended_use="research",
    )
    return Manifest(
        run_id=run_id,
        model="espeak",
        host="here",
        created_utc=utc_now(),
        inputs=inputs,
        inputs_sha256=sha256_bytes(inputs.model_dump_json().encode()),
        rule=rule,
        rule_sha256=digest,
        question=QUESTION,
        question_sha256=question,
        entry={"title": "eSpeak NG"},
        baseline_entry={"title": "Flite"},
        profile="upstream",
        baseline_profile="upstream",
        baseline_url=None,
        neighbour_mode="none",
        intended_use="research",
        reference={},
        utterances=rule.pairs,
        chain=["espeak"],
        versions={},
        git_commit=None,
        methodology_version=METHODOLOGY_VERSION,
    )
