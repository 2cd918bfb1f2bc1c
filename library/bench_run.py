#!/usr/bin/python
"""Find or begin a run, note how a phase ended.

Documentation only: the run directories are on the controller, so action_plugins/bench_run.py does the work there.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_run
short_description: Find or begin a run, note how a phase ended
description:
  - Runs on the controller, where the run directories are, whatever host the play is on.
  - The run is found by the inputs in O(run), so every task can be started at; V(opened) returns what it found, for
    the later tasks of the play.
options:
  run:
    description: The public variables of the run (docs/variables.md).
    type: dict
    required: true
  phase:
    description: The phase it is about.
    type: str
    required: true
  state:
    description:
      - V(opened) checks every input, and finds the unfinished run that has the same or begins a new one.
      - V(done) notes that O(phase) ended well, once.
      - V(failed) notes that O(phase) failed with O(failure). A candidate's fault is part of the verdict; a host's
        fails the task.
    type: str
    choices: [opened, done, failed]
    required: true
  found:
    description:
      - What the play's V(opened) of M(bench_run) found for this host. Taken only for the same request, while the files
        that decide the run have not changed; without it the task looks for itself.
    type: dict
    default: {}
  host:
    description: The host's settings (docs/variables.md).
    type: dict
    default: {}
  failure:
    description: The failed task's result, for V(failed).
    type: dict
    default: {}
  since:
    description: When the phase began (seconds since the epoch), as its first task returned it in RV(at).
    type: float
    default: 0
  task:
    description: The failed task's name, for V(failed).
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: V(opened) checks the inputs and says whether a run would begin; nothing is written.
  diff_mode:
    support: none
  idempotent:
    support: full
    description: V(opened) with the same inputs finds the run it began.
author: Audition
"""

EXAMPLES = r"""
- name: Begin or go on
  bench_run:
    run: "{{ common_run }}"
    phase: preflight
    state: opened
"""

RETURN = r"""
run_id:
  description: The run's name; empty in check mode before there is one.
  type: str
  returned: always
at:
  description: When the task began, seconds since the epoch; for O(since) of what notes how the phase ended.
  type: float
  returned: always
found:
  description: The run and the phases of it that are never done again; for the play's later tasks.
  type: dict
  returned: for V(opened), when there is a run
"""
