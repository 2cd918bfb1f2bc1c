"""What a module of ours that failed on a host has to say, in sentences: Ansible hands it over in many shapes."""

from typing import Any

from bench.text.outside import clean

KILLED = (
    "The job on the host ended without an answer: it was killed, by somebody or by the kernel for want of memory "
    "(`journalctl -k` there says so), or a disk there was full (`df -h`). What it had borrowed is given back; run the "
    "same command again."
)
_NO_ANSWER = "could not find job"
"""Of Ansible, for a job whose answer could not be written."""
_FULL = ("No space left on device", "Disk quota exceeded")
_TRACEBACK = "Traceback (most recent call last)"
_CHARACTERS = 2000


def quote_failure(result: dict[str, Any]) -> str:
    """Return what a failed module said, whichever key Ansible put it under, and what to do about it."""
    said = [clean(str(result[key])).strip() for key in ("msg", "module_stderr", "stderr") if result.get(key)]
    if not said and (error := result.get("exception")):
        # Of a module that broke off: a text with its traceback, or from Ansible 2.19 on an object that has its message.
        said = [clean(str(getattr(getattr(error, "event", None), "msg", error))).strip()]
    if (full := _find_line(said)) is not None:
        return (
            f"A disk of the host is full ({full}). Make room there (`df -h` says where; what Audition keeps is under "
            "state_dir and weights_store), then run the same command again."
        )
    # The shape of async_wrapper for a module that ended without its answer; the message is its own traceback.
    if {"cmd", "data"} <= result.keys() and said and _TRACEBACK in said[0]:
        said = said[1:] or [KILLED]
    if said == [_NO_ANSWER]:
        said = [KILLED]
    words = " ".join(_leave_out_traceback(each) for each in said)
    return words[-_CHARACTERS:] or "the job on the host left nothing and said nothing"


def _find_line(said: list[str]) -> str | None:
    """Return the line that says that a disk is full, None where none does."""
    lines = (line.strip() for each in said for line in each.splitlines())
    return next((line[-300:] for line in lines if any(words in line for words in _FULL)), None)


def _leave_out_traceback(text: str) -> str:
    """Return what stands before a traceback, and its last line, which says what happened."""
    before, found, after = text.partition(_TRACEBACK)
    return " ".join(
        [before.strip(), after.strip().splitlines()[-1]] if found and after.strip() else [text]
    ).strip()
