"""Callback: what a person reads of a play. A line before what takes time, one error in words, the verdict last."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

from ansible.plugins.callback.default import CallbackModule as Default

from bench.controller.signs import EVERY_S, LONG_S, MovingLine, find_terminal, spell

DOCUMENTATION = r"""
name: audition
type: stdout
short_description: Plays as people read them
description:
  - Says what a task is about before its work, as soon as it takes longer than a second, and how long it has been at it.
    In a terminal that is a line which moves (rich); in a log, a line every few seconds in which nothing else was said.
  - Says nothing of a task that changed nothing and took no time. With C(-v) it says all that Ansible's default says.
  - Says an error once, in words, when the rescue of its phase has recorded it.
  - Ends with the verdict and the next command as it must be typed.
options:
  quiet:
    description: Says nothing of the work; only warnings, errors, and the verdict.
    type: bool
    default: false
    env: [{name: AUDITION_QUIET}]
author: Audition
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

_SHOWS = ("ansible.builtin.debug", "debug")
_DECIDES, _RECORDS = "bench_verdict", "bench_run"


class CallbackModule(Default):  # type: ignore[misc]  # Ansible ships no types
    """See DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "audition"

    def __init__(self) -> None:
        super().__init__()
        self._task: Any = None
        self._begun = self._said = time.monotonic()
        self._held: dict[str, str] = {}
        self._last: dict[str, list[str]] = {}
        self._over = threading.Event()
        self._lock = threading.RLock()
        self._watch = threading.Thread(target=self._give_signs, daemon=True)
        self._moving: MovingLine | None = None
        self._quiet = False
        self._pid = os.getpid()
        self._show_line = self._display.display
        self._display.display = self._note  # what action plugins say while they work comes through here too

    def _note(self, *words: Any, **how: Any) -> Any:
        """Say a line, above the one that moves; where nothing is to be said of the work, what went wrong alone."""
        if (
            os.getpid() != self._pid
        ):  # a worker's: it comes again here, and our lock may be held in its copy for ever
            return self._show_line(*words, **how)
        with self._lock:
            self._said = time.monotonic()
            if self._quiet and not how.get("stderr"):
                return None
            if self._moving is not None:
                self._moving.clear()
            return self._show_line(*words, **how)

    def set_options(self, *words: Any, **given: Any) -> None:
        """Take over whether to be quiet, which a longer word (`-v`) overrules."""
        super().set_options(*words, **given)
        self._quiet = bool(self.get_option("quiet")) and self._plain

    @property
    def _plain(self) -> bool:
        return bool(self._display.verbosity == 0)

    # -- before and during the work

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Begin to give signs."""
        super().v2_playbook_on_start(playbook)
        if self._plain and not self._quiet:
            self._moving = find_terminal(sys.stdout)
            self._watch.start()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Name the play."""
        self._say_held()
        super().v2_playbook_on_play_start(play)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        """Note when a task began; it is named when that is worth it."""
        if task.action != _RECORDS:
            self._say_held()
        with self._lock:
            self._task, self._begun = task, time.monotonic()
            if self._moving is not None:
                self._moving.clear()
            super().v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        """Say nothing: what was included speaks for itself."""
        if not self._plain:
            super().v2_playbook_on_include(included_file)

    def _give_signs(self) -> None:
        while not self._over.wait(0.25):
            with self._lock:
                task, now = self._task, time.monotonic()
                if task is None:
                    continue
                if self._last_task_banner != task._uuid:
                    if now - self._begun >= LONG_S:
                        self._print_task_banner(task)
                elif self._moving is not None:
                    self._moving.show(_name(task), now - self._begun)
                elif now - self._said >= EVERY_S:
                    self._display.display(spell(_name(task), now - self._begun))

    # -- results

    def v2_runner_on_ok(self, result: Any) -> None:
        """Say what a task had to say, what it changed, and how long it took where that was long."""
        values = result.result
        if not self._plain:
            super().v2_runner_on_ok(result)
            return
        host, action = result.host.get_name(), result.task.action
        if action == _DECIDES and values.get("summary"):
            self._last[host] = list(values["summary"])
        if action == _RECORDS and values.get("msg") and host in self._held:
            self._held[host] = (
                f"{host}: {values['msg']}"  # the candidate's own failure: recorded, and the play goes on
            )
            self._say_held()
        if action in _SHOWS:
            self._show(host, values)
            return
        seconds = time.monotonic() - self._begun
        named = self._last_task_banner == result.task._uuid
        if named or values.get("changed") or values.get("warnings"):
            with self._lock:
                super().v2_runner_on_ok(result)
            if named and seconds >= 2:
                self._display.display(f"  ({seconds:.0f} s)")

    def _show(self, host: str, values: dict[str, Any]) -> None:
        message = values.get("msg", "")
        lines = message if isinstance(message, list) else str(message).splitlines()
        if lines and lines == self._last.get(host):
            return  # the verdict: it comes last
        for line in lines:
            self._display.display(f"{host} | {line}")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Keep an error until it is known whether a rescue records it: then it is said there, once."""
        if ignore_errors or not self._plain:
            super().v2_runner_on_failed(result, ignore_errors)
            return
        host, values = result.host.get_name(), result.result
        words = [str(values[key]).strip() for key in ("msg", "stderr", "module_stderr") if values.get(key)]
        words += [
            str(each) for each in values.get("argument_errors") or [] if str(each) not in " ".join(words)
        ]
        if values.get("results"):
            words += [
                str(each["msg"]) for each in values["results"] if each.get("failed") and each.get("msg")
            ]
        name = "" if result.task.action == _RECORDS else f"{_name(result.task)}: "
        self._held[host] = f"{host}: {name}{' '.join(dict.fromkeys(words)) or 'no message'}"

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Say that a host is out of reach, in words."""
        if not self._plain:
            super().v2_runner_on_unreachable(result)
            return
        self._held[result.host.get_name()] = (
            f"{result.host.get_name()} is out of reach: {result.result.get('msg', '')}"
        )

    def _say_held(self) -> None:
        for text in self._held.values():
            self._display.error(text, wrap_text=False)
        self._held.clear()

    # -- the end

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Say what failed, count, and end with the verdict."""
        with self._lock:
            self._over.set()
            self._task = None
        self._say_held()
        super().v2_playbook_on_stats(stats)
        if self._plain:
            self._quiet = False
            for host, lines in self._last.items():
                for line in lines:
                    self._display.display(f"{host} | {line}" if len(self._last) > 1 else line)


def _name(task: Any) -> str:
    """Return a task's name without its role's."""
    return str(task.get_name()).rpartition(" : ")[2].strip()
