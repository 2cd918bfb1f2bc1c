#!/usr/bin/python
"""Put a decided run on a branch, and propose it.

Documentation only: the run directories are on the controller, so action_plugins/bench_publish.py does the work there.
"""

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_publish
short_description: Put a decided run on a branch of a git repository, push it, open a pull request
description:
  - Runs on the controller, where the run directories are, whatever host the play is on.
  - Publishes the run with O(run.run_id), else the newest with the same inputs.
  - A run that still waits for ratings or for the baseline has nothing to publish.
  - Neither work tree nor index nor the current branch of O(repo) is touched.
options:
  # Made by `python -m tests.docs.generate` from bench.publish.settings.PublishTask.
  enabled:
    description: Whether to commit to a local branch; O(remote) and O(pull_request) ask for it too.
    type: bool
    default: false
  remote:
    description: Where to push, a remote's name or an address; empty for nowhere.
    type: str
    default: ""
  pull_request:
    description: Open a pull request with C(gh), or print the command that does; needs O(remote).
    type: bool
    default: false
  base:
    description: Branch to start from and to propose to; empty for the remote's default, without a remote
      C(main), else HEAD.
    type: str
    default: ""
  clip_format:
    description: 'How clips go: V(wav), the very files that were timed, or V(flac), their samples in about
      half the room.'
    type: str
    choices:
      - wav
      - flac
    default: wav
  pages:
    description: Pages of the repository that are brought up to date by the run that ends its survey, each
      from a template.
    type: list
    elements: dict
    default: []
    options:
      path:
        description: The page, by its path in the repository.
        type: str
        required: true
      template:
        description: C(survey) (all candidates with verdict and figures), C(memory) (a line each), C(forward)
          (what came after, for an earlier page about a model), or the path of a template of your own on
          the controller.
        type: str
        required: true
  run:
    description: The public variables of the run (docs/variables.md).
    type: dict
    required: true
  found:
    description: What the play's C(opened) of C(bench_run) found for this host. Taken only for the same
      request, while the files that decide the run have not changed; without it the task looks for itself.
    type: dict
    default: {}
  repo:
    description: Folder of the git repository.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Says whether the branch would change; nothing is written or sent.
  diff_mode:
    support: none
  idempotent:
    support: full
    description: A branch that holds the same files gets no commit.
author: Audition
"""

EXAMPLES = r"""
- name: Publish
  bench_publish:
    run: "{{ common_run }}"
    repo: "{{ publish_repo }}"
    remote: origin
    pull_request: true
"""

RETURN = r"""
branch:
  description: The branch.
  type: str
  returned: when published
  sample: f5-tts-bench-20261122T101500Z
commit:
  description: The commit that the branch is at.
  type: str
  returned: when published
pull_request:
  description: Address of the pull request; null where there is none.
  type: str
  returned: when published
summary:
  description: Lines to print.
  type: list
  elements: str
  returned: always
"""
