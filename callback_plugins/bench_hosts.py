"""Callback: a play that no host matched ends the playbook, for else it is a success that did nothing."""

from __future__ import annotations

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: bench_hosts
type: aggregate
short_description: A play without a host is an error
description:
  - Ends C(ansible-playbook) with 1 where a play matches no host; Ansible itself says so only of a group that the
    inventory does not name, and passes over one that is empty or that C(--limit) leaves empty.
author: Audition
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible ships no types
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "bench_hosts"
    CALLBACK_NEEDS_ENABLED = False

    def v2_playbook_on_no_hosts_matched(self) -> None:
        """Say what is missing and end: nothing was played, nor will any later play find a host."""
        self._display.error(
            "No host to play on: group audition_hosts has none in this inventory, or --limit leaves none of it. "
            "`ansible-inventory --graph` lists what there is."
        )
        # An exception that is no exit would be a warning, and the playbook a success.
        raise SystemExit(1)
