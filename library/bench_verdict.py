#!/usr/bin/python
"""Seal the pairs, or conclude.

Documentation only: the run directories are on the controller, so action_plugins/bench_verdict.py does the work there.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_verdict
short_description: Seal the pairs for the blind rating, or conclude a run
description:
  - Runs on the controller, where the run directories are, whatever host the play is on.
  - Both states are pure functions of the run directory; a second call changes nothing.
options:
  run:
    description: The public variables of the run (docs/variables.md).
    type: dict
    required: true
  found:
    description:
      - What the play's V(opened) of M(bench_run) found for this host. Taken only for the same request, while the files
        that decide the run have not changed; without it the task looks for itself.
    type: dict
    default: {}
  state:
    description:
      - V(scored) processes both sides alike, seals the mapping and publishes its hash.
      - V(concluded) writes C(verdict.json) and the reports.
    type: str
    choices: [scored, concluded]
    required: true
attributes:
  check_mode:
    support: full
    description: Says whether the phase has been done; nothing is written.
  diff_mode:
    support: none
  idempotent:
    support: full
    description: The same run directory gives the same bytes.
author: Audition
"""

EXAMPLES = r"""
- name: Conclude
  bench_verdict:
    run: "{{ common_run }}"
    state: concluded
"""

RETURN = r"""
decision:
  description: The decision, for V(concluded).
  type: str
  returned: when concluded
  sample: awaiting_ratings
label:
  description: The decision with names.
  type: str
  returned: when concluded
  sample: keep_chatterbox_try_cosyvoice2
summary:
  description: Lines to print.
  type: list
  elements: str
  returned: when concluded
"""
