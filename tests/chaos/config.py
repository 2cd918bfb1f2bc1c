"""What the processes of one case are told."""

import json
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Moment = Literal["before stop", "just after stop", "mid-benchmark", "during restore"]
Mode = Literal["pause", "parallel"]
MODES: tuple[Mode, ...] = ("pause", "parallel")
MOMENTS: tuple[Moment, ...] = ("before stop", "just after stop", "mid-benchmark", "during restore")
TTL_S = 6.0
HEARTBEAT_S = 0.3
HEARTBEAT_LIMIT_S = 3.0
STEP_LIMIT_S = 4.0
SPEAK_S = 0.5


@dataclass(frozen=True, slots=True)
class Case:
    """One borrowing run under test. Paths are strings so that it travels as JSON."""

    container: str
    container_id: str
    run_id: str
    url: str
    docker_host: str
    directory: str
    """Of the case: the heartbeat, the gate, the processes' logs."""
    lease_dir: str
    run_dir: str
    boot_id_file: str
    watcher_base: str
    engine_image: str
    engine_port: int
    gate: Moment | None
    """Where the run waits until the fault is in."""
    with_lease: bool
    watch_bytes: int
    speak_s: float
    """How long takes are made after the middle of the benchmark."""
    real: bool = False
    """Whether the run is the product's own job with an engine in a container; else it is the stand-in."""
    mode: Mode = "pause"
    heartbeat_limit_s: float = HEARTBEAT_LIMIT_S

    def save(self) -> Path:
        """Write the case where its processes read it; return the file."""
        path = Path(self.directory) / "case.json"
        path.write_text(json.dumps(asdict(self)))
        return path

    @classmethod
    def load(cls, path: Path) -> "Case":
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text()))

    @property
    def heartbeat(self) -> Path:
        """Touched by the controller while it lives."""
        return Path(self.directory) / "heartbeat"

    @property
    def reached(self) -> Path:
        """Made by the run when it has come to its gate."""
        return Path(self.directory) / "reached"

    @property
    def engine_hangs(self) -> Path:
        """Made by the fault where there is no engine yet: the one to come hangs."""
        return Path(self.directory) / "engine-hangs"

    @property
    def injected(self) -> Path:
        """Made by the suite when the fault is in."""
        return Path(self.directory) / "injected"


def hear_signals() -> None:
    """Undo what a background shell or `nohup` has a process inherit: SIGINT and SIGHUP that do nothing."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
