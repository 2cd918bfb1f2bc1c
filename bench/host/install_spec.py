"""What the install phase is told."""

from bench.records import InstallStep, Record


class InstallSpec(Record):
    """`install.json` of the job: what the sentence proves, and what to install before it is said."""

    receipt: str
    limit_s: float
    wheel: str | None = None
    """File of bench's wheel beside the job, for `venv`."""
    before: list[InstallStep] = []
    """What Ansible did before (system packages, weights), with its seconds."""
