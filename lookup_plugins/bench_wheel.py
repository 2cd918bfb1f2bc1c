"""Lookup: the wheel of this checkout and the venv it belongs in on a host."""

from __future__ import annotations

from typing import Any

from ansible.plugins.lookup import LookupBase

from bench.controller.wheel import REPO, build

DOCUMENTATION = r"""
name: bench_wheel
short_description: The wheel of this checkout, built when the sources changed
description:
  - Builds C(bench) as a wheel (two seconds, once a source tree) and returns where it is and which venv on a
    host it belongs in. The venv is named by the hash of lock and wheel.
options:
  _terms:
    description: The host's state directory.
    required: true
  whisper:
    description: Whether the venv is to have faster-whisper, which is another one then.
    type: bool
    default: false
author: Audition
"""

EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ lookup('bench_wheel', '/var/lib/audition') }}"
"""

RETURN = r"""
_raw:
  description: C(repo), C(path), C(sha256), C(lock), C(venv) and C(python).
  type: list
  elements: dict
"""


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible ships no types
    """See DOCUMENTATION."""

    def run(
        self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, str]]:
        """Return one dictionary a state directory."""
        self.set_options(var_options=variables, direct=kwargs)
        wheel = build(REPO, whisper=bool(self.get_option("whisper")))
        return [
            {
                "repo": str(REPO),
                "path": str(wheel.path),
                "sha256": wheel.sha256,
                "lock": str(wheel.lock),
                "venv": wheel.venv(state_dir),
                "python": wheel.python(state_dir),
            }
            for state_dir in terms
        ]
