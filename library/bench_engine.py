#!/usr/bin/python
"""Install an engine on a host and prove it with one sentence, or remove what a run left."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: bench_engine
short_description: Install a model's engine and prove it with one sentence; remove what a run left on the host
description:
  - The action plugin of the same name finds the run and sends the job. The module, on the host, makes the
    model's venv or image, says one sentence in the model's own preset voice, and keeps a receipt, so that the
    same installation is not proved again.
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
  state:
    description:
      - V(asked) says whether install has work, and takes the host's record into the run where its receipt and all that
        it needs besides hold.
      - V(present) installs, V(absent) removes the run's jobs and containers from the host.
    type: str
    choices: [asked, present, absent]
    default: present
  manage_packages:
    description: Whether V(asked) looks for the models' system packages.
    type: bool
    default: true
  rehash:
    description: Whether the weights are to be read again, so that V(asked) takes no receipt for them.
    type: bool
    default: false
  since:
    description: When the phase began (seconds since the epoch), for the seconds of what ran before this task.
    type: float
  weights:
    description: The report of C(bench_weights), for the record. Read by the action plugin.
    type: dict
  action:
    description: What the module is to do; filled in by the action plugin.
    type: str
    choices: [look, install, remove]
  receipt:
    description: Hash of what the sentence proves; filled in by the action plugin.
    type: str
  needs:
    description: What the model needs beside its environment; filled in by the action plugin.
    type: dict
  model:
    description: Filled in by the action plugin.
    type: str
  profile:
    description: Filled in by the action plugin.
    type: str
  run_id:
    description: Filled in by the action plugin.
    type: str
  state_dir:
    description: Filled in by the action plugin.
    type: path
  job_dir:
    description: Filled in by the action plugin.
    type: path
attributes:
  check_mode:
    support: full
    description: Says whether something would be installed or removed.
  diff_mode:
    support: none
  idempotent:
    support: full
    description: A receipt that holds installs nothing and says nothing.
author: Audition
"""

EXAMPLES = r"""
- name: Install the engine and let it say one sentence
  bench_engine:
    run: "{{ common_run }}"
    host: "{{ common_host }}"
"""

RETURN = r"""
install:
  description: The installation's record.
  type: dict
  returned: when state is present; when it is asked and there is nothing to do
todo:
  description: Whether install has work.
  type: bool
  returned: when state is asked
needs:
  description: What the two models want on the host (C(system_packages), C(weights)).
  type: dict
  returned: when state is asked
on_host:
  description: Whether bench is on the host, so that something of the run could be there.
  type: bool
  returned: when state is absent
"""


def main() -> None:
    """Arguments in, one bench call, JSON out."""
    text = {"type": "str"}
    module = AnsibleModule(
        argument_spec={
            "run": {"type": "dict"},
            "found": {"type": "dict"},
            "host": {"type": "dict"},
            "state": {"type": "str", "choices": ["asked", "present", "absent"], "default": "present"},
            "manage_packages": {"type": "bool", "default": True},
            "rehash": {"type": "bool", "default": False},
            "since": {"type": "float"},
            "weights": {"type": "dict"},
            "action": {"type": "str", "choices": ["look", "install", "remove"]},
            "receipt": text,
            "needs": {"type": "dict"},
            "model": text,
            "profile": text,
            "run_id": text,
            "state_dir": {"type": "path"},
            "job_dir": {"type": "path"},
        },
        supports_check_mode=True,
    )
    from bench.install.module import engine_step

    module.exit_json(**engine_step(module.params, check=module.check_mode))


if __name__ == "__main__":
    main()
