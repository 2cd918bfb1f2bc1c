#!/usr/bin/python
"""Follow a job on a host: new lines out, heartbeat in."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: bench_progress
short_description: Return a running job's new progress lines and touch its heartbeat
description:
  - Called about once a second by the action plugins. A job whose heartbeat goes stale ends itself.
options:
  job_dir:
    description: Where the job is on the host.
    type: path
    required: true
  offset:
    description: Byte offset in the progress file to read from.
    type: int
    default: 0
  job_id:
    description: Ansible's id of the job in the background.
    type: str
    required: true
attributes:
  check_mode:
    support: none
    description: Only meaningful for a job that runs.
  diff_mode:
    support: none
  idempotent:
    support: full
    description: Reading changes nothing but the heartbeat.
author: Audition
"""

EXAMPLES = r"""
- name: What is new
  bench_progress:
    job_dir: /var/lib/audition/jobs/espeak-local-20261122T101500Z/benchmark
    job_id: j123456789
"""

RETURN = r"""
lines:
  description: New lines.
  type: list
  elements: str
  returned: always
offset:
  description: Where to read from next time.
  type: int
  returned: always
running:
  description: Whether the job still runs.
  type: bool
  returned: always
"""


def main() -> None:
    """Arguments in, one bench call, JSON out."""
    module = AnsibleModule(
        argument_spec={
            "job_dir": {"type": "path", "required": True},
            "offset": {"type": "int", "default": 0},
            "job_id": {"type": "str", "required": True},
        }
    )
    from pathlib import Path

    from bench.jobs.follow import follow

    job_dir, offset = Path(module.params["job_dir"]), module.params["offset"]
    module.exit_json(changed=False, **follow(job_dir, offset))


if __name__ == "__main__":
    main()
