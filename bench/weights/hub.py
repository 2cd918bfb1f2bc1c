"""Fetch one file of a pinned revision from a hub, through huggingface_hub, resumably.

`hf_hub_download` (read at 1.33 and 2.4) keeps no partial file between calls, so a 2 GB file that breaks off
starts over. Its own parts are used here instead: `get_hf_file_metadata` to find the file and `http_get` to
fetch it from where a partial file ends. Plain HTTP only: Xet's protocol is not tried on aarch64, and every
hub serves HTTP.

The token goes into one request header, and that to the hub alone: not to the storage that it redirects to,
not into a message, not into a file.
"""

import errno
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

from bench.catalog.entry import WeightFile
from bench.errors import AuditionError, BadInput, DiskFull, OutOfReach
from bench.text.outside import clean

DEFAULT_ENDPOINT = "https://huggingface.co"

Progress = Callable[[str, int, int | None], None]
"""Called with the file's name (`repo/path`), the bytes on disk so far, and the bytes in all where known."""


UNSTATED_BYTES = 64 * 1024**2
"""Most bytes of a file of which nobody says how long it is, and of words and numbers that the catalog does not measure:
what a hub states of these may be anything."""


class HubError(OutOfReach):
    """The hub did not give the file; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the hub says of a file before it is fetched."""

    url: str
    etag: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Hub:
    """A hub to fetch from. `token` is never shown: it is left out of the representation."""

    endpoint: str
    token: str | None

    def __repr__(self) -> str:
        """Return the hub without its token."""
        return f"Hub({strip_urls(self.endpoint)!r}, token={'given' if self.token else None})"

    def find(self, file: WeightFile) -> Found:
        """Ask for the file's size and identity (one HEAD request).

        Raises:
            HubError: it cannot be had, or the hub answers for another revision.
        """
        import huggingface_hub  # not needed where the weights are in place, or there are none

        be_quiet()
        url = huggingface_hub.hf_hub_url(file.repo, file.path, revision=file.commit, endpoint=self.endpoint)
        try:
            facts = huggingface_hub.get_hf_file_metadata(
                url, token=self.token or False, endpoint=self.endpoint, retry_on_errors=True
            )
        except Exception as error:  # noqa: BLE001 - the errors come from four libraries
            raise self._explain(file, error) from None
        if facts.commit_hash != file.commit or facts.etag is None:
            answered = clean(str(facts.commit_hash), [self.token or ""])
            raise HubError(
                f"{strip_urls(url)}: answered for revision {answered}, and {file.commit} is pinned; "
                "the endpoint is not a hub, or one that does not keep revisions. Set HF_ENDPOINT to one that "
                "does."
            )
        return Found(facts.location, facts.etag, facts.size)

    def fetch(self, file: WeightFile, found: Found, partial: Path, progress: Progress | None) -> None:
        """Fetch the file into `partial`, from where that ends.

        Raises:
            HubError: the connection broke too often or the hub refused; what arrived stays in `partial`. Or more came
                than the file is to have: nothing stays.
            DiskFull: the disk filled up; `partial` is removed, as the host has other work to do.
        """
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        be_quiet()
        of_the_hub = urlsplit(found.url)[:2] == urlsplit(self.endpoint)[:2]  # by the same scheme, too
        headers = build_hf_headers(token=(self.token or False) if of_the_hub else False)
        headers["Accept-Encoding"] = "identity"  # what is measured is what is sent
        size = found.size if file.bytes is None else file.bytes
        limit = _find_limit(file, found)
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        try:
            with partial.open("r+b", buffering=0) as stream:
                have = stream.seek(0, os.SEEK_END)
                if have > limit:
                    have = stream.truncate(0)
                    stream.seek(0)
                http_get(
                    found.url,
                    _Counted(stream, f"{file.repo}/{file.path}", size, limit, progress),
                    resume_size=have,
                    headers=headers,
                    expected_size=size,
                )
                os.fsync(stream.fileno())
        except _TooLong:
            partial.unlink(missing_ok=True)
            raise
        except AuditionError:  # of `progress`, which was told to stop
            raise
        except Exception as error:  # noqa: BLE001 - as above
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                partial.unlink(missing_ok=True)
                raise DiskFull(
                    f"{partial.parent}: the disk filled up while {file.repo}/{file.path} was fetched; the "
                    "partial file was removed. Free some space and run install again."
                ) from None
            raise self._explain(file, error) from None

    def _explain(self, file: WeightFile, error: Exception) -> AuditionError:
        """Turn what the client raised into a sentence that holds neither token nor signed address."""
        name = f"{file.repo}/{file.path} at {file.commit[:12]}"
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            held = "The token it was sent is not enough" if self.token else "No token was sent"
            return HubError(
                f"{strip_urls(self.endpoint)} refuses {name} (HTTP {status}). {held}: accept the model's terms on its "
                "page, and set HF_TOKEN, or weights_token_file to a file that holds the token."
            )
        if status == 404:
            return HubError(
                f"{strip_urls(self.endpoint)} has no {name} (HTTP 404): check repo, revision and path in the catalog "
                "entry."
            )
        if status is not None:
            return HubError(
                f"{strip_urls(self.endpoint)} answered {name} with HTTP {status}; try again later."
            )
        if type(error).__name__ == "OfflineModeIsEnabled":
            return HubError(
                f"{name} is not in the store and HF_HUB_OFFLINE is set; unset it to fetch the file."
            )
        reason = str(error) if isinstance(error, OSError) else type(error).__name__
        reason = strip_urls(clean(reason, [self.token or ""]))
        return HubError(
            f"{name} could not be fetched from {strip_urls(self.endpoint)}: {reason}. "
            "What arrived is kept; run install again to go on. Behind a proxy set HTTPS_PROXY; "
            "for a mirror set HF_ENDPOINT."
        )


def endpoint_of(endpoint: str | None) -> str:
    """Return the endpoint to use: the one given, else HF_ENDPOINT, else the public hub."""
    chosen = (endpoint or os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/")
    if urlsplit(chosen).scheme not in ("http", "https"):
        raise BadInput(
            f"HF_ENDPOINT or weights_endpoint is `{strip_urls(chosen)}`; give an http:// or https:// address."
        )
    return chosen


def token_from(token_file: Path | None) -> str | None:
    """Return the token from the file, else from HF_TOKEN, else None. It is read at need and kept nowhere.

    Raises:
        BadInput: the file is missing, empty, or holds more than a token.
    """
    if token_file is None:
        return os.environ.get("HF_TOKEN", "").strip() or None
    try:
        token = token_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise BadInput(f"{token_file}: the token cannot be read ({reason}).") from None
    if not token or len(token) > 512 or not token.isascii() or any(c.isspace() for c in token):
        raise BadInput(f"{token_file}: must hold the token and nothing else.")
    return token


class _TooLong(HubError):
    """The hub sends more than there is to be."""


def _find_limit(file: WeightFile, found: Found) -> int:
    """Return the most bytes that may be written: those of the catalog, else those that the hub states."""
    if file.bytes is not None:
        return file.bytes
    if found.size is None:
        return UNSTATED_BYTES
    return found.size if file.path.endswith(".safetensors") else min(found.size, UNSTATED_BYTES)


class _Counted:
    """The partial file, with every write counted and held to a limit. It has what `http_get` uses of a file."""

    def __init__(
        self, stream: IO[bytes], name: str, total: int | None, limit: int, progress: Progress | None
    ) -> None:
        self._stream, self._name, self._total, self._progress = stream, name, total, progress
        self._limit = limit

    def write(self, data: bytes) -> int:
        if self._stream.tell() + len(data) > self._limit:
            raise _TooLong(
                f"{self._name}: more than {self._limit} bytes came, the most that it may have; nothing of it is kept. "
                "Ask another hub (HF_ENDPOINT), or give the file's `bytes` and `sha256` in the catalog entry."
            )
        view = memoryview(data)
        while view:
            # Unbuffered, a write to a nearly full disk may be cut short; the rest then raises ENOSPC.
            view = view[self._stream.write(view) :]
        if self._progress is not None:
            self._progress(self._name, self._stream.tell(), self._total)
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def be_quiet() -> None:
    """Keep the client's bars off our output and its warnings, which hold signed addresses, out of the log.

    And keep it from telling on us: for its telemetry it asks the public hub, whatever endpoint it is given.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars

    constants.HF_HUB_DISABLE_TELEMETRY = True
    disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)


def strip_urls(text: str) -> str:
    """Return the text without the query, user and password of any address in it: there lie signatures and secrets."""
    words = []
    for word in text.split(" "):
        parts = urlsplit(word) if "://" in word else None
        bare = (
            parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="") if parts else None
        )
        words.append(urlunsplit(bare) if bare else word)
    return " ".join(words)
