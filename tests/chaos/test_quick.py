"""The quick half of the chaos suite: one fault of each kind. All of it: `python -m tests.chaos`."""

from collections.abc import Iterator

import pytest

from tests.chaos.config import Moment
from tests.chaos.drivers import Driver, ProcessDriver, SshDriver
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.suite import run_case
from tests.chaos.world import World

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World()
    try:
        yield made
    finally:
        made.close()


def fault(name: str) -> Fault:
    return next(each for each in FAULTS if each.name == name)


@pytest.mark.parametrize(
    ("name", "moment", "policy", "driver"),
    [
        ("controller SIGKILL", "mid-benchmark", "unless-stopped", ProcessDriver),
        ("benchmarking process killed", "just after stop", "no", ProcessDriver),
        ("watcher killed", "during restore", "on-failure", ProcessDriver),
        ("everything killed (power loss)", "mid-benchmark", "no", ProcessDriver),
        ("SSH cut", "mid-benchmark", "always", SshDriver),
    ],
)
def test_it_comes_back(world: World, name: str, moment: Moment, policy: str, driver: type[Driver]) -> None:
    resume = name == "controller SIGKILL"
    outcome = run_case(world, fault(name), moment, driver, policy, resume=resume)
    assert outcome.restored, outcome.row()


def test_without_the_lease_it_does_not(world: World) -> None:
    # Ten seconds are enough: nothing is left that could bring it back later.
    outcome = run_case(
        world, fault("benchmarking process killed"), "mid-benchmark", ProcessDriver, "unless-stopped",
        with_lease=False, limit_s=0.0,
    )  # fmt: skip
    assert not outcome.restored
    assert outcome.seconds is None, outcome.row()
