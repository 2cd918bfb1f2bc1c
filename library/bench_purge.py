#!/usr/bin/python
"""List what Audition keeps on a host, and remove it."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: bench_purge
short_description: List what Audition keeps on a host, and remove it for good
description:
  - Ours are folders under O(state_dir) by name, and containers, volumes and images by label. Everything else is left.
  - Nothing is removed while a job or a lease is at work.
options:
  state_dir:
    description: Where the host keeps venvs, weights, receipts, jobs and the lease.
    type: path
    required: true
  store:
    description: The store of weights; one that is not under O(state_dir) is left.
    type: path
    required: true
  weights:
    description: Whether the weights go too.
    type: bool
    default: false
  confirmed:
    description: Remove; else only say what would be removed.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Says what would be removed.
  diff_mode:
    support: none
  idempotent:
    support: full
    description: What is gone is gone.
author: Audition
"""

EXAMPLES = r"""
- name: Say what would be removed
  bench_purge:
    state_dir: /var/lib/audition
    store: /var/lib/audition/weights
"""

RETURN = r"""
plan:
  description: What is removed, what is left and why, and who is at work.
  type: dict
  returned: always
removed:
  description: What was removed.
  type: list
  elements: str
  returned: always
"""


def main() -> None:
    """Arguments in, one bench call, JSON out."""
    module = AnsibleModule(
        argument_spec={
            "state_dir": {"type": "path", "required": True},
            "store": {"type": "path", "required": True},
            "weights": {"type": "bool", "default": False},
            "confirmed": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    from pathlib import Path

    from bench.errors import AuditionError
    from bench.install.purge import purge_step

    given = module.params
    try:
        done = purge_step(
            Path(given["state_dir"]),
            Path(given["store"]),
            weights=given["weights"],
            confirmed=given["confirmed"] and not module.check_mode,
        )
    except AuditionError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**done)


if __name__ == "__main__":
    main()
