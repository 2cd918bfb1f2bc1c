#!/usr/bin/python
"""Preflight: the gates that need no host, and the checks of the host."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: bench_check
short_description: Preflight's gates and the checks of a host
description:
  - The action plugin of the same name finds the run. With O(scope=gates) it checks, on the controller, the
    licence against the intended use and whether the clone encoder is open; not one request is made. With
    O(scope=host) the module checks the host and the result is the run's C(preflight.json).
options:
  run:
    description: The public variables of the run (docs/variables.md). Read by the action plugin.
    type: dict
  found:
    description:
      - What the play's V(opened) of M(bench_run) found for this host. Taken only for the same request, while the files
        that decide the run have not changed; without it the task looks for itself. Read by the action plugin.
    type: dict
  host:
    description: The host's settings (docs/variables.md). Read by the action plugin.
    type: dict
  scope:
    description: What to check.
    type: str
    choices: [gates, host]
    default: host
  since:
    description: When the phase began (seconds since the epoch), for the record. Read by the action plugin.
    type: float
  token:
    description: Bearer token of the baseline's server, where it wants one; written nowhere.
    type: str
  spec:
    description: What to check for; filled in by the action plugin.
    type: json
attributes:
  check_mode:
    support: full
    description: Checks are made where they can be; nothing is written.
  diff_mode:
    support: none
  idempotent:
    support: full
    description: Preflight of a run is made once.
author: Audition
"""

EXAMPLES = r"""
- name: Check the host
  bench_check:
    run: "{{ common_run }}"
    host: "{{ common_host }}"
"""

RETURN = r"""
refused:
  description: The gate that ends the run, or empty.
  type: str
  returned: always
checks:
  description: Every check made.
  type: list
  elements: dict
  returned: when checks were made
notices:
  description: What must be printed, the licence's notice among it.
  type: list
  elements: str
  returned: always
"""


def main() -> None:
    """Arguments in, one bench call, JSON out."""
    module = AnsibleModule(
        argument_spec={
            "run": {"type": "dict"},
            "found": {"type": "dict"},
            "host": {"type": "dict"},
            "scope": {"type": "str", "choices": ["gates", "host"], "default": "host"},
            "since": {"type": "float"},
            "token": {"type": "str", "no_log": True},
            "spec": {"type": "json"},
        },
        supports_check_mode=True,
    )
    from bench.preflight.check import check_host
    from bench.preflight.spec import HostSpec

    spec, token = HostSpec.model_validate_json(module.params["spec"]), module.params["token"]
    report = check_host(spec, token, looking=module.check_mode)
    module.exit_json(changed=False, report=report.model_dump(mode="json"))


if __name__ == "__main__":
    main()
