#!/usr/bin/python
"""Put a model's weights into the host's store, pinned and verified."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: bench_weights
short_description: Put a model's weights into the host's store, pinned and verified
description:
  - Fetches each file at its pinned revision through huggingface_hub, goes on where a broken download stopped,
    checks the SHA-256 and moves the file to its place. A file that is in its place is not asked for again, so
    with all of them there no request is made and no network is needed.
  - A file with a wrong hash is put into quarantine and named. A file whose hash the catalog does not know is
    held to the hash of its first download.
  - Proxies are taken from the environment (C(HTTPS_PROXY), C(HTTP_PROXY), C(NO_PROXY)).
options:
  # Made by `python -m tests.docs.generate` from bench.weights.settings.WeightsTask.
  endpoint:
    description: The hub's address; empty for C(HF_ENDPOINT) of the host's environment, or the public hub.
    type: str
    default: ""
  token_file:
    description: File on the host that holds the hub's token; empty for C(HF_TOKEN) of the host's environment,
      if set.
    type: path
  margin_gib:
    description: Room that must stay free on the disk, in GiB.
    type: float
    default: 1
  rehash:
    description: Read and hash the files that are in place, too.
    type: bool
    default: false
  timeout_s:
    description: Seconds after which the download is given up; what arrived is kept for the next run.
    type: int
    default: 3600
  weights:
    description: The O(weights) of the catalog entry.
    type: list
    elements: dict
    required: true
    options:
      repo:
        description: Owner and name on the hub.
        type: str
        required: true
      revision:
        description: 'Commit, 40 hexadecimal digits. Null: nobody has looked it up, and install refuses
          it.'
        type: str
        required: true
      path:
        description: Path of the file there; C(*) is every file of a repository whose revision is null.
        type: str
        required: true
      bytes:
        description: Size; null where unknown.
        type: int
      sha256:
        description: Null is recorded at first sight and held to afterwards.
        type: str
  store:
    description: The store's folder on the host.
    type: path
    required: true
  job_dir:
    description: Where the download says how far it is; filled in by the action plugin, which shows it.
    type: path
attributes:
  check_mode:
    support: full
    description: Says which files would be fetched, by their size and time; nothing is asked or hashed.
  diff_mode:
    support: none
  idempotent:
    support: full
    description: Nothing is fetched when every file is in place and as it was verified.
author: Audition
"""

EXAMPLES = r"""
- name: Put the weights in place
  bench_weights:
    weights:
      - repo: charactr/vocos-mel-24khz
        revision: 0feb3fdd929bcd6649e0e7c5a688cf7dd012ef21
        path: pytorch_model.bin
        bytes: 54365991
        sha256: 97ec976ad1fd67a33ab2682d29c0ac7df85234fae875aefcc5fb215681a91b2a
    store: /var/lib/audition/weights
"""

RETURN = r"""
report:
  description: What became of each file. Not in check mode.
  type: dict
  returned: on success
  sample:
    store: /var/lib/audition/weights
    endpoint: https://huggingface.co
    changed: true
    bytes_downloaded: 54365991
    files:
      - repo: charactr/vocos-mel-24khz
        revision: 0feb3fdd929bcd6649e0e7c5a688cf7dd012ef21
        path: pytorch_model.bin
        bytes: 54365991
        sha256: 97ec976ad1fd67a33ab2682d29c0ac7df85234fae875aefcc5fb215681a91b2a
        status: downloaded
        first_sight: false
        bytes_fetched: 54365991
        seconds: 4.2
would_fetch:
  description: The files that are not in place.
  type: list
  elements: str
  returned: in check mode
would_fetch_bytes:
  description: Their size, null where the catalog does not know one.
  type: int
  returned: in check mode
"""

# Made by `python -m tests.docs.generate`, as the options above are.
ARGUMENTS = {
    "endpoint": {"type": "str", "default": ""},
    "token_file": {"type": "path", "no_log": False},
    "margin_gib": {"type": "float", "default": 1},
    "rehash": {"type": "bool", "default": False},
    "timeout_s": {"type": "int", "default": 3600},
    "weights": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "repo": {"type": "str", "required": True},
            "revision": {"type": "str", "required": True},
            "path": {"type": "str", "required": True},
            "bytes": {"type": "int"},
            "sha256": {"type": "str"},
        },
    },
    "store": {"type": "path", "required": True},
    "job_dir": {"type": "path"},
}


def main() -> None:
    """Arguments in, one bench call, JSON out."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
    )
    from bench.install.weights import weights_step

    result = weights_step(module.params, check=module.check_mode)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
