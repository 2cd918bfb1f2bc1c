#!/usr/bin/python
"""Find or begin a run, ask it what is to do, note how a phase ended.

Documentation only: the run directories are on the controller, so action_plugins/bench_run.py does the work there.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_run
short_description: Find or begin a run, ask it what a phase has to do, note how a phase ended
description:
  - Runs on the controller, where the run directories are, whatever host the play is on.
  - The run is found by the inputs in O(run), never by a fact, so every task can be started at.
options:
  run:
    description: The public variables of the run (docs/variables.md).
    type: dict
    required: true
  phase:
    description: The phase that asks.
    type: str
    required: true
  state:
    description:
      - V(opened) checks every input, and finds the unfinished run that has the same or begins a new one.
      - V(asked) says whether O(phase) has work.
      - V(done) notes that O(phase) ended well, once.
      - V(failed) notes that O(phase) failed with O(failure). A candidate's fault is part of the verdict; a host's
        fails the task.
    type: str
    choices: [opened, asked, done, failed]
    default: asked
  host:
    description: The host's settings (docs/variables.md).
    type: dict
    default: {}
  failure:
    description: The failed task's result, for V(failed).
    type: dict
    default: {}
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
todo:
  description: Whether the phase has work.
  type: bool
  returned: always
why:
  description: Why it has none.
  type: str
  returned: when it has none
needs:
  description: What the phase needs installed on the host.
  type: dict
  returned: when there is a run
"""
