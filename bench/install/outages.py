"""Whose fault is a step that failed: what could not be fetched is the host's, whatever else went wrong the model's.

Nothing is learnt about a model from a package index, a registry or a name server that does not answer, is too busy
(429, 5xx), asks for a login, or hands out other bytes than were pinned. Only a build that fails, a package that has
nothing for this machine, or the hour rejects it. Weights say it by their own errors (`bench.weights`, all of them
`OutOfReach`); here the words of pip and of Docker are read, of those two alone.

pip's last words are the same whether an index is down, answers with a login page, or has no wheel for this machine:
"No matching distribution found". Which it was stands in its log (`PIP_LOG`), so that is read as well; an image's build
prints the lines of it that matter (bench/engines/image/Dockerfile).
"""

import re
import time
from urllib.parse import unquote

_WRONG_BYTES = re.compile(r"DO NOT MATCH THE HASHES")
_NOT_FOUND = re.compile(
    r"No matching distribution found for ([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?(?:==([\w.!+-]+))?"
)
_PAGE_REFUSED = re.compile(r"Could not fetch URL (\S+): (?!404 )(.*?)(?: - skipping)?$", re.MULTILINE)
_UNTRUSTED = re.compile(r"The repository located at \S+ is not a trusted or secure host")
_OTHER_PYTHON = re.compile(
    r"(?:Skipping link: |Ignored the following versions[^:]*: |; )(\S+) Requires-Python"
)
_OTHER_MACHINE = re.compile(r"Skipping link: none of the wheel's tags .*?/([^/\s]+\.whl)")
_STEP = re.compile(r"^Step \d+/\d+ : (\w+)", re.MULTILINE)
_UNREACHED = re.compile(
    r"Max retries exceeded|(?:Read|Connect|Connection) timed out|ReadTimeoutError"
    r"|Connection (?:broken|refused|reset|aborted)|Connection to \S+ timed out|IncompleteRead|incomplete-download"
    r"|Name or service not known|Temporary failure in name resolution|Could not resolve host|no such host"
    r"|Temporary failure resolving|Failed to fetch https?:|Unable to connect to \S+:"
    r"|No route to host|Network is unreachable|Cannot connect to proxy|ProxyError|Tunnel connection failed"
    r"|dial tcp |i/o timeout|unexpected EOF|net/http: |x509: "
    r"|CERTIFICATE_VERIFY_FAILED|SSLError|HTTP error (?:4|5)\d\d|HTTP Error (?:4|5)\d\d"
)
"""Words of pip, urllib, git, apt and Docker where a connection was not made, broke, or somebody else answered."""
_FETCHES = re.compile(
    r"\s*(?:Looking in|Collecting |Downloading |Using cached |Installing build dependencies: started"
    r"|WARNING: (?:Retrying|Connection|Attempting)|Step \d+/\d+ : FROM|Pulling |Waiting|Verifying |Download |Extracting"
    r"|Pull complete|Already exists|(?:Get|Hit|Ign|Err):\d+ )"
)
"""The lines after which pip, apt or Docker waits for what comes over the network."""


def explain_outage(output: str, log: str = "") -> str | None:
    """Return what was out of reach, in a few words, or None where the step that wrote `output` failed by itself.

    `output` is what pip, or the build of an image, wrote; `log` is pip's, where it is not among that already. Pure.
    """
    # Neither a warning nor a page that was not had need be why: another attempt, or another index, may have done.
    lines = [
        line for line in output.splitlines() if "WARNING:" not in line and "Could not fetch URL" not in line
    ]
    text = "\n".join(lines)
    steps = _STEP.findall(output)
    if steps and "RUN" not in steps:
        return "the image that it is built on could not be had"
    if _WRONG_BYTES.search(text):
        return "other bytes came than the pinned ones, as from a proxy or a login page"
    if (missing := _NOT_FOUND.search(text)) is not None:
        return _explain_missing(f"{output}\n{log}", missing[1], missing[2])
    found = next((line for line in lines if _UNREACHED.search(line)), None)
    return None if found is None else _shorten(found)


def _explain_missing(output: str, name: str, version: str | None) -> str | None:
    """Return why pip found nothing of a package, or None where there is something, but not for this machine."""
    if (refused := _PAGE_REFUSED.search(output)) is not None:
        return _shorten(f"{refused[1]}: {refused[2]}")
    if _UNTRUSTED.search(output):
        return "the package index is reached by http, and pip does not trust that host"
    if _is_for_others(unquote(output), name, version):
        return None
    wanted = f"{name}=={version}" if version else name
    return (
        f"the package index has no {wanted} for any machine; what answered is a login page, or PIP_INDEX_URL names an "
        "index without it"
    )


def _is_for_others(output: str, name: str, version: str | None) -> bool:
    """Return whether an index has the package in this version for another machine or another Python."""
    for wheel in _OTHER_MACHINE.findall(output):
        parts = wheel.split("-")
        if _same(parts[0], name) and (version is None or _same(parts[1], version)):
            return True
    return any(version is None or _same(each, version) for each in _OTHER_PYTHON.findall(output))


def _shorten(said: str) -> str:
    """Return pip's words without the names of its objects."""
    return re.sub(r"<[\w.]+ object at 0x\w+>: ", "", said).strip()[:500]


def _same(one: str, other: str) -> bool:
    """Return whether two spellings of a name or a version are one (PEP 503)."""
    return re.sub(r"[-_.]+", "-", one).lower() == re.sub(r"[-_.]+", "-", other).lower()


class Waiting:
    """How long a step has waited for what it fetches, by the lines that pip and Docker write as they go."""

    def __init__(self, *, always: bool = False) -> None:
        """Begin with a step that fetches nothing; `always`: with one that does nothing else, whatever it writes."""
        self.seconds = 0.0
        self._always = self._fetching = always
        self._at = time.monotonic()
        self._rest = b""

    def read(self, written: bytes) -> None:
        """Count the time since the last call, then take in what the step has written since."""
        now = time.monotonic()
        if self._fetching:
            self.seconds += now - self._at
        self._at = now
        *lines, self._rest = (self._rest + written).split(b"\n")
        for line in lines:
            if line.strip():
                self._fetching = self._always or _FETCHES.match(line.decode(errors="replace")) is not None
