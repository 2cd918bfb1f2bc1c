"""Lookup: variables that are set and that nobody reads, for they are one slip from a public one."""

from __future__ import annotations

from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible.utils.vars import load_extra_vars

from bench.controller.variables import find_misspelt

DOCUMENTATION = r"""
name: bench_misspelt
short_description: Variables whose names are nearly those of public ones
description:
  - Looks at every variable of the host and at those given with C(-e), and returns a sentence for each that is not
    one of Audition's and is one letter, or two exchanged ones, from it.
options:
  _terms:
    description: None.
    required: false
author: Audition
"""

EXAMPLES = r"""
- ansible.builtin.debug:
    msg: "{{ query('bench_misspelt') }}"
"""

RETURN = r"""
_raw:
  description: The sentences.
  type: list
  elements: str
"""


class LookupModule(LookupBase):  # type: ignore[misc]  # Ansible ships no types
    """See DOCUMENTATION."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        """Return the sentences."""
        return find_misspelt(variables or {}, load_extra_vars(self._loader))
