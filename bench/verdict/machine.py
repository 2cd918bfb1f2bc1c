"""What the machine did beside a pass, in words: what makes a model look slower than it is. Pure."""

from collections.abc import Mapping

from bench.records.base import NeighbourMode
from bench.records.machine import MachineState
from bench.records.passes import PassFile
from bench.records.take import TakeSide

OTHERS_SHARE = 0.2
"""Of all cores; other programs that use more are warned of."""
STEAL_SHARE = 0.02
CLOCK_SHARE = 0.6
"""Of the processor's or the GPU's highest clock; less, while it works, is warned of."""
_SLOWED = {
    "thermal": "it was too hot", "hardware": "the hardware slowed it down", "power_brake": "its power was cut back",
    "power_cap": "it was at its power limit",
}  # fmt: skip


def warn_of_machines(
    passes: Mapping[TakeSide, PassFile], names: Mapping[TakeSide, str], neighbour_mode: NeighbourMode
) -> list[str]:
    """Return a line a side whose machine was busy or slowed; none for a pass of a version that did not look."""
    lines = []
    for side, record in passes.items():
        if record.machine is not None and (found := explain(record.machine, neighbour_mode)):
            lines.append(f"While {names[side]} spoke, {'; '.join(found)}: its times may be too long.")
    return lines


def explain(machine: MachineState, neighbour_mode: NeighbourMode) -> list[str]:
    """Return what was amiss with a machine, in words."""
    found = []
    if machine.others_cores is not None and machine.others_cores > OTHERS_SHARE * machine.cpus:
        found.append(f"other programs used {machine.others_cores:.1f} of {machine.cpus} cores")
    elif machine.others_cores is None and (machine.load_before or 0.0) > machine.cpus:
        found.append(f"the load was {machine.load_before:.1f} on {machine.cpus} cores")
    if machine.steal is not None and machine.steal > STEAL_SHARE:
        found.append(f"the hypervisor gave {machine.steal:.0%} of the processor's time to other machines")
    if _is_low(machine.cpu_mhz, machine.cpu_max_mhz):
        found.append(f"the processor ran at {machine.cpu_mhz:.0f} of {machine.cpu_max_mhz:.0f} MHz")
    if machine.throttled:
        found.append(f"the processor slowed down for its temperature {machine.throttled} times")
    for gpu in machine.gpus:
        of = f"GPU {gpu.index}"
        found += [
            f"{of}: {_SLOWED[reason]}" for reason in gpu.slowed if reason in _SLOWED and reason != "power_cap"
        ]
        if gpu.others and neighbour_mode == "none":
            found.append(
                f"{gpu.others} other {'process was' if gpu.others == 1 else 'processes were'} on {of}"
            )
    return found


def _is_low(mhz: float | None, highest: float | None) -> bool:
    return mhz is not None and highest is not None and mhz < CLOCK_SHARE * highest
