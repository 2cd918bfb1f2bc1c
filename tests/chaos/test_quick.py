"""The quick half of the chaos suite: every fault at one moment. All of it: `python -m tests.chaos`."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.chaos.at_random import Lengths, Worlds, draw, run_drawn
from tests.chaos.config import MOMENTS, Mode, Moment
from tests.chaos.drivers import ProcessDriver, SshDriver
from tests.chaos.faults import CONTROLLERS, FAULTS, Fault
from tests.chaos.suite import run_case
from tests.chaos.world import World
from tests.support.onlooker import EventLog

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def world(needs_docker: None) -> Iterator[World]:
    made = World()
    try:
        yield made
    finally:
        made.close()


def fault(name: str) -> Fault:
    return next(each for each in FAULTS if each.name == name)


QUICK: dict[str, tuple[Moment, str]] = {
    "task failure": ("just after stop", "always"),
    "controller SIGINT": ("during restore", "no"),
    "controller SIGTERM": ("before stop", "on-failure"),
    "controller SIGHUP": ("just after stop", "unless-stopped"),
    "controller SIGKILL": ("mid-benchmark", "unless-stopped"),
    "ansible-runner cancel": ("mid-benchmark", "always"),
    "controller frozen": ("mid-benchmark", "no"),
    "SSH cut": ("mid-benchmark", "always"),
    "benchmarking process killed": ("just after stop", "no"),
    "engine hung": ("mid-benchmark", "unless-stopped"),
    "engine eats memory": ("just after stop", "on-failure"),
    "watcher killed": ("during restore", "on-failure"),
    "watcher removed": ("mid-benchmark", "always"),
    "dockerd killed, restarted": ("mid-benchmark", "unless-stopped"),
    "everything killed (power loss)": ("mid-benchmark", "no"),
}
"""Each fault at one moment; between them they meet every moment and every policy."""


def test_every_fault_has_its_moment() -> None:
    assert sorted(QUICK) == sorted(each.name for each in FAULTS)
    assert {moment for moment, _ in QUICK.values()} == set(MOMENTS)


@pytest.mark.parametrize("name", QUICK)
def test_it_comes_back(world: World, name: str) -> None:
    moment, policy = QUICK[name]
    driver = SshDriver if name == "SSH cut" else ProcessDriver
    resume = name == "controller SIGKILL"
    outcome = run_case(world, fault(name), moment, driver, policy, resume=resume)
    assert outcome.restored, outcome.row()


@pytest.mark.parametrize(
    ("name", "mode", "resume"),
    [("benchmarking process killed", "pause", True), ("engine eats memory", "parallel", False)],
)
def test_it_comes_back_from_the_job_itself(world: World, name: str, mode: Mode, resume: bool) -> None:
    # The engine runs in a container that outlives its job: only the watcher can have ended it.
    outcome = run_case(
        world, fault(name), "mid-benchmark", ProcessDriver, "unless-stopped", real=mode, resume=resume
    )
    assert outcome.restored, outcome.row()


def test_without_the_lease_it_does_not(world: World) -> None:
    # Ten seconds are enough: nothing is left that could bring it back later.
    outcome = run_case(
        world, fault("benchmarking process killed"), "mid-benchmark", ProcessDriver, "unless-stopped",
        with_lease=False, limit_s=0.0,
    )  # fmt: skip
    assert not outcome.restored
    assert outcome.seconds is None, outcome.row()


def test_a_fault_that_does_nothing_does_not_count_as_survived(world: World) -> None:
    nothing = Fault("nothing", lambda _scene: None, drivers=CONTROLLERS)
    outcome = run_case(world, nothing, "mid-benchmark", ProcessDriver, "always", resume=False)
    assert outcome.problems == ["the run went on to its end: its controller was not gone"]


def test_what_is_drawn_is_told_by_its_seed_and_leaves_no_fault_out() -> None:
    drawn = draw(7, 200)
    assert draw(7, 200) == drawn and draw(8, 200) != drawn
    assert draw(7, 50) == drawn[:50], "how many are asked for moves none"
    assert {each.fault.name for each in drawn} == {each.name for each in FAULTS}
    assert {each.real for each in drawn} == {None, "pause", "parallel"}
    assert {each.driver.name for each in drawn} == {"process", "user", "ansible", "ssh", "pair"}
    assert all(each.driver.name in each.fault.drivers for each in drawn)
    assert not [each for each in drawn if each.fault.eats_memory and each.real == "pause"]
    shares = [each.share for each in drawn]
    assert all(any(tenth <= share * 10 < tenth + 1 for share in shares) for tenth in range(10))


def test_one_that_is_drawn_comes_back(world: World) -> None:
    worlds = Worlds(world)
    which = next(
        each
        for each in draw(1, 200)
        if (each.fault.name, each.who) == ("benchmarking process killed", "user")
    )
    outcome = run_drawn(worlds, replace(which, share=0.5), Lengths(worlds))
    assert outcome.restored and outcome.seconds is not None, outcome.row()


@pytest.mark.parametrize(
    ("actions", "lent"),
    [
        ("", False),
        ("update", False),
        ("update kill die stop", True),
        ("update kill die stop update start", True),
        ("update kill die stop update start update", False),
    ],
)
def test_dockers_events_say_when_a_fault_came(actions: str, lent: bool) -> None:
    log = EventLog.__new__(EventLog)
    log.events = [
        {"Type": "container", "Actor": {"ID": "it"}, "Action": action, "timeNano": at * 10**9}
        for at, action in enumerate([*actions.split(), "die"])
    ]
    assert log.lent_at("it", len(actions.split()) - 0.5) is lent
