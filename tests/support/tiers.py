"""Which tests are quick, and which of them have to be in one process: pytest's hooks for both.

A test is `whole` when it needs what Python, git, make and `make setup` do not give (it says so by
`pytest.mark.needs`, or one of its fixtures asks for a `needs_...` fixture), when it is `slow`, or when a command of its
own runs it (`chain`, `engines`): the quick tests are all part of `make test`. Every other test is `quick`. A quick
test's process finds no program of `BEYOND_SETUP` and reaches no other machine, so that one which needs more than it
says fails in every run, and not at a newcomer's.
"""

import contextlib
import ipaddress
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support import pace

BEYOND_SETUP = frozenset(
    {
        "espeak-ng", "espeak", "ffmpeg", "ffprobe", "sox", "soxi", "play",
        "chromium", "node", "npm", "npx",
        "docker", "dockerd", "docker-registry", "containerd", "debootstrap", "iptables",
        "ssh", "sshd", "ssh-keygen", "strace", "apt-get", "mount", "umount",
    }
)  # fmt: skip
"""Programs that `make setup-test` installs, and those that are of use to root alone."""

TOGETHER = (
    ("ansible/test_two_models.py", "two models"),
    ("hosts", "hosts"),
    ("ansible", "ansible"),
    ("neighbour", "docker"),
    ("published", "docker"),
    ("docker_host", "docker"),
    ("browser", "browser"),
    ("chaos", "chaos"),
    ("whole", "whole"),
    ("jobs", "jobs"),
)
"""Folders and files whose fixtures are dear, or whose tests disturb each other, and the group of each. The longest come
first: what is begun last decides how long one process waits for the other. Every other file is a group of its own."""

FIRST = frozenset({"weights", "listening", "controller"})
"""Folders whose quick tests are begun before those of others: their files take longest, or wait longest."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test's tier and group, and put the dear groups first."""
    del config
    ranks = {place: rank for rank, (place, _) in enumerate(TOGETHER)}
    for item in items:
        why = needs(item)
        apart = any(item.get_closest_marker(name) for name in ("slow", "chain", "engines"))
        item.add_marker("whole" if why or apart else "quick")

    def rank(item: pytest.Item) -> int:
        if is_whole(item):
            file = item.path.relative_to(Path(__file__).parents[1]).as_posix()
            return ranks.get(file, ranks.get(folder_of(item), len(ranks)))
        return len(ranks) + (1 if folder_of(item) in FIRST else 2)

    items.sort(key=rank)


class ByGroup(LoadScopeScheduling):  # type: ignore[misc]  # xdist ships no types
    """Gives a process all the tests of a group. (xdist's own groups are marks that pytest 9.2 does not let it keep.)"""

    def _split_scope(self, nodeid: str) -> str:
        """Return the group of a test: that of its file, else that of its folder, else the file."""
        file = nodeid.partition("::")[0]
        groups, place = dict(TOGETHER), PurePosixPath(file)
        folder = place.parts[1] if len(place.parts) > 2 else ""
        return groups.get("/".join(place.parts[1:])) or groups.get(folder, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByGroup:
    """Part the tests by group."""
    return ByGroup(config, log)


def folder_of(item: pytest.Item) -> str:
    """Return the folder of tests/ that holds a test."""
    parts = item.path.relative_to(Path(__file__).parents[1]).parts
    return parts[0]


def needs(item: pytest.Item) -> set[str]:
    """Return what a test needs beyond `make setup`, by its marks and by its fixtures."""
    names: list[str] = getattr(item, "fixturenames", [])
    by_fixture = {name.removeprefix("needs_") for name in names if name.startswith("needs_")}
    return by_fixture | {str(what) for mark in item.iter_markers("needs") for what in mark.args}


def is_whole(item: pytest.Item) -> bool:
    """Tell whether a test is outside the quick tier."""
    return item.get_closest_marker("whole") is not None


SAY = "pytest.mark.needs says what a test needs"


class Newcomer:
    """A machine on which `make setup` has run and nothing else, as far as one process can be kept to it."""

    def __init__(self) -> None:
        self.within = False
        self.before = os.defpath
        self.folder = Path(tempfile.mkdtemp(prefix="audition-newcomer-"))
        self.path = os.pathsep.join(self._shown(Path(place), n) for n, place in enumerate(_search_path()))
        sys.addaudithook(self._look)

    def _shown(self, place: Path, number: int) -> str:
        """Return a folder with links to what `place` holds but for `BEYOND_SETUP`; `place` where it holds none."""
        if not any((place / name).exists() for name in BEYOND_SETUP):
            return str(place)
        shown = self.folder / str(number)
        shown.mkdir()
        for entry in place.iterdir():
            if entry.name not in BEYOND_SETUP:
                (shown / entry.name).symlink_to(entry)
        return str(shown)

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.within and event == "socket.connect" and isinstance(arguments[1], tuple):
            host = str(arguments[1][0])
            if not _is_own(host):
                raise PermissionError(
                    f"a quick test connects to {host}; pytest.mark.needs says what a test needs"
                )

    @contextlib.contextmanager
    def view(self) -> Iterator[None]:
        """See what a newcomer sees, to the end of the block or until `leave`."""
        self.before = os.environ.get("PATH", os.defpath)
        os.environ["PATH"], self.within = self.path, True
        try:
            yield
        finally:
            self.leave()

    def leave(self) -> None:
        """See the whole machine again. Once: what changes PATH after that has its reasons."""
        if self.within:
            os.environ["PATH"], self.within = self.before, False

    def close(self) -> None:
        """Remove the links."""
        self.within = False
        shutil.rmtree(self.folder, ignore_errors=True)


def _search_path() -> list[str]:
    return [place for place in os.environ.get("PATH", os.defpath).split(os.pathsep) if Path(place).is_dir()]


def _is_own(host: str) -> bool:
    """Tell whether an address is this machine's, or none of any machine (as examples in documents have)."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host in ("localhost", "")
    return address.is_loopback or address.is_unspecified


_newcomer: Newcomer | None = None


def pytest_configure(config: pytest.Config) -> None:
    """Make the newcomer's view once a process."""
    global _newcomer
    _newcomer = Newcomer()
    config.add_cleanup(_newcomer.close)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a quick test as a newcomer's; give every test the more time the busier the machine is."""
    given = item.get_closest_marker("timeout")
    seconds = float(given.args[0] if given else item.config.getini("timeout"))
    item.add_marker(pytest.mark.timeout(pace.limit(seconds)), append=False)
    if _newcomer is None or is_whole(item):
        return (yield)
    with _newcomer.view():
        return (yield)


@pytest.fixture(autouse=True)
def _whole_machine_afterwards() -> Iterator[None]:
    """Give the whole machine back before wider fixtures end: with a quick test may end what an earlier test began.

    The first fixture of a test is the last to end, so a test's own changes of PATH are undone by then.
    """
    yield
    if _newcomer is not None:
        _newcomer.leave()
