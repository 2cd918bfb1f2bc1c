"""The named ways in which a take fails. A failed take is recorded and the pass goes on."""

from bench.client.replies import Scrub, error_text
from bench.records.take import TakeError

KINDS: dict[str, str] = {
    "connection_refused": "nothing listens at the address",
    "connect_failed": "no connection could be made: name, route, or TLS",
    "timeout": "the take's time limit passed",
    "aborted": "the server closed or reset the connection in the middle of the answer",
    "truncated": "the body is shorter than a declared length, or ends inside a sample",
    "protocol_error": "the answer is not HTTP/1.1",
    "too_large": "the body passed the size limit",
    "http_<code>": "an HTTP error; the message is the server's",
    "stream_error": "the stream itself carried an error: an event, or text where audio should be",
    "zero_bytes": "a success status with an empty body",
    "no_samples": "a container header and no audio after it",
    "not_audio": "the body is not audio in any form that is known, or is compressed as a whole",
    "unknown_rate": "raw PCM whose sample rate neither a header nor the catalog entry states",
    "wrong_rate": "statements of the sample rate disagree or cannot be read, it changed, or nobody speaks at it",
    "wrong_form": "what is said of channels, width or coding cannot be read, differs, or is not what the body is",
    "nan": "samples that are not numbers, or infinite",
    "silence": "no 10 ms frame reaches the audible level",
    "noise": "noise at full scale from end to end: samples of another form than was said",
    "clipping": "a large part of the samples stands at full scale",
    "too_short": "shorter than any speech of its words can be",
    "stopped": "the caller asked the pass to stop while this take was under way",
}
"""Every `TakeError.kind` and what it means; docs/measuring.md prints the same table."""


class TakeFault(Exception):
    """One take failed; `kind` is one of `KINDS`."""

    def __init__(
        self, kind: str, message: str, *, said: bytes | None = None, retry_after_s: float | None = None
    ) -> None:
        """Name the fault.

        Args:
            kind: one of `KINDS`.
            message: for people; `{said}` in it stands for what the server said.
            said: that, whole: it is cut once it has been scrubbed.
            retry_after_s: what the server asked for.
        """
        self._form, self._said = message, said
        self.kind = kind
        self.message = self._fill(str)
        self.retry_after_s = retry_after_s
        super().__init__(f"{kind}: {self.message}")

    def _fill(self, scrub: Scrub) -> str:
        if self._said is None:
            return self._form
        return self._form.replace("{said}", error_text(self._said, scrub))

    def scrub(self, scrub: Scrub) -> "TakeFault":
        """Return the fault as it may be kept: without a secret, or a part of one, in its message."""
        return TakeFault(self.kind, scrub(self.message if self._said is None else self._fill(scrub)))

    def record(self) -> TakeError:
        """Return the record of this fault."""
        return TakeError(kind=self.kind, message=self.message)
