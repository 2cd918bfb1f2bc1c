"""A published image on trial, from a registry to sealed pairs: installed by digest, spoken with by the job, its voice
checked, and nothing left of it but what was recorded."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from docker import errors as docker_errors

from bench.controller import conclude, outgoing
from bench.controller.host_settings import HostSettings
from bench.controller.run import Run, note_phase
from bench.docker_host.host import DockerHost
from bench.docker_host.networks import NETWORK_LABEL
from bench.install.install import install
from bench.jobs.archive import unpack
from bench.records.passes import PassFile
from bench.records.run import Install, Preflight
from bench.records.verdict import Verdict
from bench.storage.clock import utc_now
from bench.storage.record_file import load_record, save_record
from tests.published.conftest import Published
from tests.support import entries, whole_run
from tests.support.docker import DockerEnv
from tests.support.followed import followed

pytestmark = [pytest.mark.needs("docker-registry"), pytest.mark.slow, pytest.mark.timeout(1800)]


@dataclass(frozen=True, slots=True)
class Made:
    """The run, and what installing it said."""

    run: Run
    said: list[str]
    reference: str
    left: list[Any]


@pytest.fixture(scope="module")
def made(
    docker_env: DockerEnv, published: Published, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch, DockerHost(docker_env.host) as docker_host:
        patch.setenv("DOCKER_HOST", docker_env.host)
        with contextlib.suppress(docker_errors.ImageNotFound):
            docker_host.images.remove(published.reference)
        tree = entries.published(
            "neural", published.repository, published.platforms, health={"path": "/ready"}, voice="heart",
            dialect="openai", memory_gib=0.5, start_timeout_s=120,
        )  # fmt: skip
        host = whole_run.settings(folder)
        asked = whole_run.request(folder, model="neural", catalog_dir=entries.write(folder / "catalog", tree))
        run = whole_run.preflight(asked, host)
        said: list[str] = []
        _install(run, host, folder, said)
        for phase in ("benchmark", "baseline"):
            spoken = whole_run.speak(run, phase, host, folder)
            assert spoken.ok, spoken.error
        conclude.score_run(run)
        conclude.decide_run(run)
        left = docker_host.labelled(run.run_id) + docker_host.api.networks(filters={"label": [NETWORK_LABEL]})
        yield Made(run, said, published.reference, left)
        for image in docker_host.images.list(name="audition-published-neural"):
            docker_host.images.remove(image.id, force=True)


def _install(run: Run, host: HostSettings, folder: Path, said: list[str]) -> None:
    """Do the install phase's job as the host's module does, and put its record into the run."""
    spec = outgoing.make_job_spec(run, "install", host)
    receipt = outgoing.hash_receipt(spec)
    job_dir = folder / "job-install"
    with outgoing.pack_install(run, spec, receipt, host, outgoing.Before([], [])) as tar:
        unpack(tar, job_dir)
    with followed(job_dir):
        record = install(job_dir, Path(host.state_dir), said.append)
    save_record(record, run.path)
    note_phase(run, "install", utc_now(), record.error, fault=None if record.ok else "candidate")
    assert record.ok, record.error


def test_it_was_pulled_by_digest_and_said_one_sentence(made: Made) -> None:
    record = load_record(Install, made.run.path)
    assert [step.name for step in record.steps] == ["image", "smoke sentence"]
    assert record.image is not None and record.image["reference"] == made.reference
    assert record.image["pulled"] is True and record.image["bytes"] > 100_000_000
    assert record.image["labels"] == {"org.opencontainers.image.title": "a neural voice"}
    assert (record.asked["install"], record.ran["install"]) == ("image", "image")
    assert record.ran["version"] == made.reference
    assert record.smoke is not None and record.smoke.error is None and record.receipt
    assert "install | image" in made.said


def test_its_voice_was_checked_as_that_of_a_server_over_http(made: Made) -> None:
    found = load_record(PassFile, made.run.path / "candidate")
    assert found.voice_check is not None
    assert found.voice_check.verdict == "honoured", found.voice_check.evidence
    assert found.result is not None and found.result.ok == 10
    assert found.health["revision"] == made.reference
    assert found.health["known"]["networks"] == ["audition-internal"]
    assert found.health["unknown"], "what only the server knows is listed"


def test_its_pairs_are_sealed_and_what_was_proved_of_it_is_shown(made: Made) -> None:
    assert load_record(Verdict, made.run.path).decision == "awaiting_ratings"
    checks = {check.name: check for check in load_record(Preflight, made.run.path).checks}
    assert checks["docker"].ok and "nothing" in checks["proved"].detail
    report = (made.run.path / "report.html").read_text(encoding="utf-8")
    assert "Proved before this run" in report


def test_nothing_of_it_runs_on(made: Made) -> None:
    assert made.left == []
