"""A lock that leaves unmet what a package asks for is installed where the entry declares it, with pip for real."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.engines.image import pip_check
from bench.install.provision import InstallFailed, Provisioner, is_complete
from bench.jobs.archive import pack
from tests.support.index import Index

pytestmark = pytest.mark.slow

Unmet = dict[str, list[str]]
Make = Callable[[Unmet | None], Path]
MISSING = "speaker 1.0 requires pages, which is not installed."
OTHER = 'speaker 1.0 has requirement muscle==2.6; python_version < "3.14", but you have muscle 2.11.'


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Make a venv of two packages: `speaker` wants one that is not in the lock, and another release of `muscle`."""
    for name in [name for name in os.environ if name.lower().startswith("pip_") or "proxy" in name.lower()]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    with Index() as index:
        monkeypatch.setenv("PIP_INDEX_URL", index.url)
        wants = 'muscle==2.6; python_version < "3.14"\nRequires-Dist: pages'
        lock = tmp_path / "lock.txt"
        lock.write_text(index.wheel("speaker", "1.0", requires=wants) + index.wheel("muscle", "2.11"))
        (tmp_path / "code").mkdir()
        (tmp_path / "code/served.py").write_text("")
        pack(tmp_path / "code", code := tmp_path / "engine.tar")

        def do(unmet: Unmet | None) -> Path:
            target = tmp_path / "engines/speaker-1"
            Provisioner(120, lambda _: None).venv(target, lock, code, unmet=unmet)
            return target

        yield do


def test_what_the_entry_declares_is_left_unmet(make: Make) -> None:
    assert is_complete(make({"speaker": ["muscle==2.6", "pages"]}))


def test_pip_refuses_such_a_lock_where_nothing_is_declared(make: Make) -> None:
    with pytest.raises(InstallFailed, match="packages ended with 1"):
        make(None)


def test_anything_else_that_pip_complains_of_fails(make: Make) -> None:
    with pytest.raises(InstallFailed) as failed:
        make({"speaker": ["pages"]})
    assert OTHER in str(failed.value)
    assert str(failed.value).startswith("pip check ended with 1")


def test_each_line_of_pip_is_read_whole() -> None:
    declared = {"speaker": ["muscle==2.6", "pages"]}
    others = [
        "speaker 1.0 is not supported on this platform",
        "speaker 1.0 requires pages2, which is not installed.",
        "No broken requirements found.",
    ]
    assert pip_check.undeclared([MISSING, OTHER, *others], declared) == others
    assert pip_check.undeclared([MISSING, OTHER], {}) == [MISSING, OTHER]
    assert pip_check.undeclared([MISSING, OTHER], {"speaker": ["muscle==2.6"]}) == [MISSING]
    assert pip_check.undeclared([MISSING, OTHER], {"speaker": ["muscle==2.7", "pages"]}) == [OTHER]
    assert pip_check.undeclared([MISSING, OTHER], {"other": ["muscle==2.6", "pages"]}) == [MISSING, OTHER]
