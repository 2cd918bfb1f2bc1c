"""What could not be fetched is the host's fault, and only what the model did itself is a finding: with pip for real."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.errors import AuditionError, OutOfReach
from bench.install import provision
from bench.install.outages import Waiting, explain_outage
from bench.install.provision import InstallFailed, Provisioner, is_complete
from bench.jobs.archive import pack
from tests.support.index import Answer, Index
from tests.support.neighbours import free_port


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """An index that pip asks, and pip with no settings but that."""
    for name in [name for name in os.environ if name.lower().startswith("pip_") or "proxy" in name.lower()]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with Index() as running:
        monkeypatch.setenv("PIP_INDEX_URL", running.url)
        yield running


Install = Callable[[str], Provisioner]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Install a lock's lines with pip into a folder, within a time."""

    def do(lines: str, limit_s: float = 60.0) -> Provisioner:
        lock = tmp_path / "lock.txt"
        lock.write_text(lines)
        provisioner = Provisioner(limit_s, lambda _: None, scratch=tmp_path)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-v", "--no-deps"]
        where = ["--target", str(tmp_path / "site"), "--require-hashes", "-r", str(lock)]
        provisioner.run("packages", [*pip, *where])
        return provisioner

    return do


# The host's


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pages", "said"),
    [
        (503, "too many 503"),
        (429, "429 Client Error"),
        (403, "403 Client Error"),
        (407, "407 Client Error"),
        ("login", "no tiny==1.0 for any machine; what answered is a login page"),
        (404, "no tiny==1.0 for any machine"),
    ],
)
def test_an_index_that_answers_something_else_says_nothing_of_a_model(
    index: Index, install: Install, pages: Answer, said: str
) -> None:
    lock = index.wheel("tiny", "1.0")
    index.pages = pages
    with pytest.raises(OutOfReach, match=said) as stopped:
        install(lock)
    assert "run the same command again" in str(stopped.value)
    index.pages = None
    assert install(lock).steps[0].detail == "", "the same lock goes in once the index answers"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (503, "too many 503"),
        (429, "HTTP error 429"),
        ("login", "other bytes came"),
        ("cut", "other bytes came|incomplete"),
    ],
)
def test_files_that_do_not_come_or_come_wrong_say_nothing_of_a_model(
    index: Index, install: Install, files: Answer, said: str
) -> None:
    lock = index.wheel("tiny", "1.0")
    index.files = files
    with pytest.raises(OutOfReach, match=said):
        install(lock)


@pytest.mark.slow
def test_an_index_that_is_down_or_has_no_name_or_a_proxy_that_is_none_says_nothing_of_a_model(
    index: Index, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = index.wheel("tiny", "1.0")
    for setting, address, said in (
        ("PIP_INDEX_URL", f"http://127.0.0.1:{free_port()}/simple", "Connection refused"),
        ("PIP_INDEX_URL", "https://index.invalid/simple", "Name or service not known|name resolution"),
        ("PIP_INDEX_URL", "http://index.invalid/simple", "does not trust that host"),
        ("HTTP_PROXY", f"http://127.0.0.1:{free_port()}", "Connection refused"),
        ("HTTP_PROXY", "http://proxy.invalid:3128", "Name or service not known|name resolution"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(setting, address)
            with pytest.raises(OutOfReach, match=said):
                install(lock)
    assert not index.asked


@pytest.mark.slow
def test_build_requirements_out_of_reach_say_nothing_of_a_model(index: Index, install: Install) -> None:
    lock = index.source("older", "1.0", "pass", requires='"flit_core>=3"')
    with pytest.raises(OutOfReach, match="no flit_core for any machine"):
        install(lock)


@pytest.mark.slow
def test_a_venv_whose_index_was_down_is_made_by_the_same_command(index: Index, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(index.wheel("tiny", "1.0"))
    (tmp_path / "code").mkdir()
    (tmp_path / "code/served.py").write_text("")
    pack(tmp_path / "code", code := tmp_path / "engine.tar")
    target = tmp_path / "engines/mine-1"
    index.pages = 503
    with pytest.raises(OutOfReach):
        Provisioner(120, lambda _: None).venv(target, lock, code)
    assert not is_complete(target)
    index.pages = None
    assert Provisioner(120, lambda _: None).venv(target, lock, code)
    assert is_complete(target)


# The candidate's


@pytest.mark.slow
def test_no_wheel_for_this_machine_or_this_python_is_a_finding(index: Index, install: Install) -> None:
    other = index.wheel("tiny_voice", "1.0+cu999", tag="cp27-cp27m-win32")
    with pytest.raises(InstallFailed, match="No matching distribution found for tiny_voice"):
        install(other)
    old = index.wheel("elder", "2.0", needs_python="<3")
    with pytest.raises(InstallFailed, match="No matching distribution"):
        install(old)


def test_a_wheel_of_another_version_for_another_machine_is_no_finding(index: Index, install: Install) -> None:
    wanted = index.wheel("tiny", "2.0")
    del index.held["tiny-2.0-py3-none-any.whl"]
    index.wheel("tiny", "1.0", tag="cp27-cp27m-win32")
    with pytest.raises(OutOfReach, match=r"no tiny==2\.0 for any machine"):
        install(wanted)


@pytest.mark.slow
def test_a_source_build_that_fails_is_a_finding_though_another_index_is_down(
    index: Index, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = index.source("tiny", "1.0", "raise SystemExit('error: no compiler is here')")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"http://127.0.0.1:{free_port()}/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(InstallFailed, match="no compiler is here") as failed:
        install(lock)
    (step,) = failed.value.steps
    assert step.retries >= 1, "the other index was asked, and did not matter"
    assert step.source_builds == ["tiny"]


# The hour


@pytest.mark.slow
def test_the_hour_does_not_run_while_pip_waits_for_a_download(
    index: Index, install: Callable[..., Provisioner]
) -> None:
    lock = index.wheel("tiny", "1.0")
    index.delay_s = 8.0
    (step,) = install(lock, limit_s=6.0).steps
    assert step.seconds > 8.0
    assert step.waited_s is not None and step.waited_s > 6.0


@pytest.mark.slow
def test_the_hour_runs_while_a_package_is_built(index: Index, install: Callable[..., Provisioner]) -> None:
    lock = index.source("tiny", "1.0", "__import__('time').sleep(60)")
    with pytest.raises(InstallFailed, match=r"not done within 6 s \(install_timeout_s\)"):
        install(lock, limit_s=6.0)


@pytest.mark.slow
def test_a_step_of_the_hosts_own_is_no_part_of_the_hour() -> None:
    provisioner = Provisioner(2.0, lambda _: None)
    provisioner.run("sources", ["/bin/sh", "-c", "echo cloning; sleep 4"], whose="host")
    assert provisioner.left_s("the next") > 0.5
    (step,) = provisioner.steps
    assert step.waited_s is not None and step.waited_s > 3.0
    with pytest.raises(AuditionError, match="sources: no such commit") as failed:
        provisioner.run("sources", ["/bin/sh", "-c", "echo no such commit; exit 1"], whose="host")
    assert not isinstance(failed.value, InstallFailed)


@pytest.mark.slow
def test_downloads_that_take_all_day_are_looked_at_by_somebody(
    index: Index, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provision, "DOWNLOADS_LIMIT_S", 1.0)
    lock = index.wheel("tiny", "1.0")
    index.delay_s = 30.0
    with pytest.raises(OutOfReach, match="look at the network"):
        install(lock)


def test_only_lines_that_begin_a_download_let_the_hour_stand_still() -> None:
    waiting = Waiting()

    def after(line: str) -> float:
        before = waiting.seconds
        waiting.read(line.encode())
        time.sleep(0.02)
        waiting.read(b"")
        return waiting.seconds - before

    for line in (
        "Collecting torch==2.9\n",
        "  Downloading torch.whl (800 MB)\n",
        "Step 2/9 : FROM python\n",
        "Get:1 x\n",
    ):
        assert after(line) > 0.01, line
    for line in (
        "Building wheel for torch\n",
        "   ---- 800/800 MB\n",
        "Installing collected packages: torch\n",
    ):
        assert after(line) < 0.01, line
    assert after("Collecting half a li") < 0.01
    assert after("ne\n") > 0.01


# Docker's words


@pytest.mark.parametrize(
    "error",
    [
        'Get "https://registry.example/v2/": dial tcp: lookup registry.example: no such host',
        "toomanyrequests: You have reached your unauthenticated pull rate limit.",
        "received unexpected HTTP status: 503 Service Unavailable",
    ],
)
def test_a_base_that_cannot_be_pulled_is_the_hosts_matter(error: str) -> None:
    begun = "Step 1/12 : ARG BASE\nStep 2/12 : FROM ${BASE}\nPulling from library/python\n"
    assert explain_outage(f"{begun}The image mine could not be built: {error}\n") is not None
    later = f"{begun} ---> 123\nStep 3/12 : RUN python3 -m venv /opt/engine\nerror: invalid syntax\n"
    assert explain_outage(later) is None
