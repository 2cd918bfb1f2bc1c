#!/usr/bin/python
"""Make one pass of takes on a host."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: bench_takes
short_description: Make a pass of takes on a host and bring them back into the run directory
description:
  - The action plugin of the same name finds the run, sends the job, shows a line a take, and takes what comes
    back into the run directory. The module, on the host, starts the engine, speaks, measures and ends it.
  - A pass whose takes are sealed is never made again.
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
  phase:
    description: V(benchmark) speaks preset and cloned, V(baseline) the baseline. Read by the action plugin.
    type: str
    choices: [benchmark, baseline]
  job_dir:
    description: Where the job is on the host; filled in by the action plugin.
    type: path
attributes:
  check_mode:
    support: full
    description: Says whether takes would be made; nothing is started or stopped.
  diff_mode:
    support: none
  idempotent:
    support: full
    description: Sealed takes are never made again.
author: Audition
"""

EXAMPLES = r"""
- name: Speak the ten utterances in the preset and the cloned voice
  bench_takes:
    run: "{{ common_run }}"
    host: "{{ common_host }}"
    phase: benchmark
"""

RETURN = r"""
passes:
  description: What each pass came to, by name.
  type: dict
  returned: when takes were made
  sample: {candidate: {takes: 10, ok: 10, failed: {}}}
"""


def main() -> None:
    """Arguments in, one bench call, JSON out."""
    module = AnsibleModule(
        argument_spec={
            "run": {"type": "dict"},
            "found": {"type": "dict"},
            "host": {"type": "dict"},
            "phase": {"type": "str", "choices": ["benchmark", "baseline"]},
            "job_dir": {"type": "path"},
        },
        supports_check_mode=True,
    )
    if module.check_mode or not module.params["job_dir"]:
        module.exit_json(changed=False)
    from pathlib import Path

    from bench.jobs.module import do_job

    module.exit_json(**do_job(Path(module.params["job_dir"])))


if __name__ == "__main__":
    main()
