"""A whole run without Ansible: every step the playbooks call, in their order, on real speech."""

from pathlib import Path
from typing import Any

from bench.controller import conclude, host_settings, incoming, outgoing
from bench.controller.preflight import check_gates, write_preflight
from bench.controller.request import RunRequest
from bench.controller.run import Run, note_phase, open_or_create
from bench.controller.wheel import REPO
from bench.inputs.demo_reference import make as make_reference
from bench.jobs.archive import pack, unpack
from bench.jobs.job import run_job
from bench.jobs.spec import JobResult
from bench.preflight.check import check_host
from bench.preflight.spec import HostSpec
from bench.records.run import Install
from bench.storage.clock import utc_now
from bench.storage.record_file import save_record
from tests.support.followed import followed

SHORT = (
    "Yes, please.", "Not today.", "One moment.", "Which day?", "Good night.",
    "Call me back.", "Room twelve.", "Thank you, Anna.", "Tea or coffee?", "All done.",
)  # fmt: skip
"""Ten things of a second each, so that a session that really plays them takes a minute."""


def request(folder: Path, **changes: Any) -> RunRequest:
    """Return a request for the demo's two engines, everything below `folder`."""
    audio, transcript, rights = make_reference(folder / "reference")
    utterances = folder / "utterances.txt"
    if not utterances.exists():
        utterances.write_text("".join(f"{text}\n" for text in SHORT), encoding="utf-8")
    given = {
        "runs_dir": folder / "runs",
        "host": "local",
        "model": "espeak",
        "baseline": "flite",
        "reference_audio": audio,
        "reference_transcript": transcript,
        "reference_rights": rights,
        "utterances_file": utterances,
    }
    return RunRequest.of(given | changes)


def settings(folder: Path) -> host_settings.HostSettings:
    """Return a host whose state lives below `folder`."""
    return host_settings.HostSettings(state_dir=str(folder / "state"), warmups=1)


def preflight(asked: RunRequest, host: host_settings.HostSettings) -> Run:
    """Begin a run and make preflight's record."""
    run, _ = open_or_create(asked, REPO)
    entry = run.entry()
    found = check_gates(entry, asked.intended_use)
    how = host_settings.choose_way(entry, host)
    spec = HostSpec(
        entry=entry,
        install=how,
        engine_python=host_settings.name_engine_python(entry, host) if how == "venv" else None,
        image=host_settings.name_engine_image(entry, host) if how == "container" else None,
        baseline=run.baseline_entry(),
        baseline_url=asked.baseline_url,
        state_dir=Path(host.state_dir),
        weights_store=host.store(),
        engine_port=host.engine_port,
        neighbour=host.neighbour,
    )
    write_preflight(run, found, None if found.refused else check_host(spec))
    return run


def install(run: Run) -> None:
    """Note an installation as done; the engines are system packages that the test set-up installed."""
    save_record(Install(ok=True, steps=[], total_s=0.0, limit_s=3600.0), run.path)
    note_phase(run, "install", utc_now())


def speak(run: Run, phase: outgoing.JobPhase, host: host_settings.HostSettings, folder: Path) -> JobResult:
    """Do a phase's job as the host's module does, and take it into the run."""
    started = utc_now()
    job_dir = folder / f"job-{phase}"
    with outgoing.pack_job(run, outgoing.make_job_spec(run, phase, host)) as tar:
        unpack(tar, job_dir)
    with followed(job_dir):
        run_job(job_dir)
    pack(job_dir / "out", job_dir / "out.tar")
    return incoming.accept(run, phase, job_dir / "out.tar", started)


def until_sealed(folder: Path, **changes: Any) -> Run:
    """Return a run that waits for its raters."""
    host = settings(folder)
    run = preflight(request(folder, **changes), host)
    install(run)
    for phase in ("benchmark", "baseline"):
        made = speak(run, phase, host, folder)
        assert made.ok, made.error
    conclude.score_run(run)
    return run
