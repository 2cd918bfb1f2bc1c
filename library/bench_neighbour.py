#!/usr/bin/python
"""Inspect, stop or start the container that lives on the GPU host; build the image of its watcher."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: bench_neighbour
short_description: Inspect, stop or start the neighbour; build its watcher's image
description:
  - The neighbour is one named container that lives on the GPU host and must survive. This module cannot create,
    recreate or remove it. Stopping and starting is done by the watcher, a small container of ours, so that
    the neighbour comes back whatever becomes of this play (docs/neighbour.md).
  - Runs on the host, in the interpreter of the bench venv, as a user who may use Docker's socket.
options:
  # Made by `python -m tests.docs.generate` from bench.neighbour.module.NeighbourTask.
  ttl_s:
    description: How long without a renewal until the watcher starts the neighbour, in seconds; 60 at most.
    type: float
    default: 60
  hard_limit_s:
    description: However alive the run is, the neighbour is given back after this many seconds.
    type: float
    default: 3600
  state_dir:
    description: The host's lease directory; one for all runs, for it is how a second run learns who holds
      the neighbour.
    type: path
    default: /var/lib/audition/lease
  watcher_base:
    description: Image with Python 3.9 or newer on which the watcher's is built.
    type: str
    default: python:3.12-slim
  container:
    description: Name of the neighbour's container.
    type: str
  url:
    description: Root of the neighbour's OpenAI API, as seen from its host.
    type: str
  state:
    description:
      - V(inspected) looks and changes nothing.
      - V(prepared) builds the watcher's image where it is missing; its tag is the hash of its build context.
      - V(stopped) borrows the neighbour's place for O(ttl_s). Asked again with the same O(run_id) in time,
        it stays stopped for that long again; else the watcher starts it. Between tasks nothing else renews.
      - V(started) takes it back from whoever holds it, and waits until it runs and (with O(url)) generates.
      - Every state but V(prepared) needs O(container); V(stopped) needs O(url) and O(run_id).
    type: str
    choices:
      - inspected
      - prepared
      - stopped
      - started
    default: inspected
  run_id:
    description: Who borrows.
    type: str
attributes:
  check_mode:
    support: full
    description: Says whether anything would change. Before bench is on the host nothing can be looked at, and
      every state but V(inspected) is reported as a change.
  diff_mode:
    support: none
  idempotent:
    support: full
author: Audition
"""

EXAMPLES = r"""
- name: Look at the neighbour
  bench_neighbour:
    container: vllm-gemma4
    url: http://127.0.0.1:8003

- name: Build the watcher's image
  bench_neighbour:
    state: prepared

- name: Take the neighbour back from whoever holds it
  bench_neighbour:
    state: started
    container: vllm-gemma4
    url: http://127.0.0.1:8003
"""

RETURN = r"""
msg:
  description: How the neighbour is, in a sentence; or the watcher's image.
  type: str
  returned: always
  sample: vllm-gemma4 is running, restart policy unless-stopped, and serves. Nobody holds it.
image:
  description: Name of the watcher's image.
  type: str
  returned: when state is prepared
  sample: audition-watcher:0f2a6c1de99b41c7
neighbour:
  description: All that the host says of it (bench.neighbour.owner.NeighbourStatus).
  type: dict
  returned: when state is not prepared
  sample: {name: vllm-gemma4, well: true, serves: true, lease: null, restarters: []}
"""

# Made by `python -m tests.docs.generate`, as the options above are.
ARGUMENTS = {
    "ttl_s": {"type": "float", "default": 60},
    "hard_limit_s": {"type": "float", "default": 3600},
    "state_dir": {"type": "path", "default": "/var/lib/audition/lease"},
    "watcher_base": {"type": "str", "default": "python:3.12-slim"},
    "container": {"type": "str"},
    "url": {"type": "str"},
    "state": {
        "type": "str",
        "choices": ["inspected", "prepared", "stopped", "started"],
        "default": "inspected",
    },
    "run_id": {"type": "str"},
}


def main() -> None:
    """Arguments in, one bench call, JSON out."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
    )
    try:
        from bench.errors import AuditionError
        from bench.neighbour.module import NeighbourTask, ensure
    except ImportError as error:
        if module.check_mode:
            module.exit_json(
                changed=module.params["state"] != "inspected",
                msg="bench is not on this host yet",
                neighbour=None,
            )
        module.fail_json(msg=f"bench is not in this interpreter ({error}); run the role `common` first.")
    try:
        answer = ensure(NeighbourTask(**module.params), check=module.check_mode)
    except (AuditionError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**answer.model_dump(mode="json"))


if __name__ == "__main__":
    main()
