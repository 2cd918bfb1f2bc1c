"""What is measured: where the server is, and the voice that is asked of it."""

import hashlib
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from bench.catalog.entry import AskedRun, RawContainer
from bench.errors import BadInput
from bench.text.outside import clean

_SPEECH_ROUTE = re.compile(r"/(audio/speech(/stream|/upload)?|audio/voices|inference_[a-z_0-9]+)/?$")


def check_base_url(url: str) -> None:
    """Refuse the address of a server that cannot be used; the message repeats nothing that may be a secret.

    Raises:
        BadInput: no http URL, a user or password in it, something after `?` or `#`, or the route of a request.
    """
    try:
        parts = urlsplit(url)
        port, name = parts.port, (parts.hostname or "").encode("idna")
    except ValueError as error:  # its words may hold a password, so they are not repeated
        raise BadInput(
            "the server's URL cannot be read: it must look like http://host:port, its port a number up to 65535."
        ) from error
    if parts.scheme not in {"http", "https"} or not name or port == 0:
        raise BadInput("the server's URL must look like http://host:port; give it with its scheme.")
    if parts.username or parts.password:
        raise BadInput(
            f"the URL of {parts.hostname} carries a user or password; put a bearer token into the "
            "environment and name that variable as auth_env instead."
        )
    if "?" in url or "#" in url:
        raise BadInput(
            f"the URL of {parts.hostname} has something after a ? or #, which no request could carry on; give the "
            "server's root alone. A key goes into the environment (auth_env), a field into the entry's `request`."
        )
    if _SPEECH_ROUTE.search(parts.path):
        raise BadInput(
            f"the URL of {parts.hostname} is that of a request ({parts.path}); give the server's root. Where its "
            "route is an unusual one, name it as `path` in the catalog entry."
        )


@dataclass(frozen=True)
class Target:
    """A speech server. The bearer token is held as a secret: no repr, log or record shows it."""

    base_url: str
    dialect: str = "auto"
    """A name from `bench.client.dialects`, or `auto` to probe."""
    path: str | None = None
    """Path of the speech request under `base_url`, where it is not the dialect's own."""
    sample_rate_hz: int | None = None
    """For raw PCM whose rate no header states; a server that states another one fails the take."""
    container: RawContainer | None = None
    """For raw PCM under a content type that does not say so, or of a form that no header states."""
    token: SecretStr | None = None
    request: Mapping[str, Any] = field(default_factory=dict)
    """Fields merged into each speech request; a null value removes the dialect's own field."""
    ca_file: Path | None = None
    """CA bundle to trust instead of the system's, for https with a private authority."""

    def __post_init__(self) -> None:
        """Refuse an address that cannot be used."""
        check_base_url(self.base_url)

    @classmethod
    def from_run(cls, run: AskedRun, base_url: str, token: str | None = None, **more: Any) -> Self:
        """Return the target that a catalog entry describes of a server that is not ours, at `base_url`."""
        return cls(
            base_url=base_url,
            dialect=run.dialect,
            path=run.path,
            sample_rate_hz=run.sample_rate_hz,
            container=run.container,
            token=SecretStr(token) if token else None,
            request=dict(run.request),
            **more,
        )

    def url(self, path: str) -> str:
        """Return the URL of `path` (with its leading slash) under the base.

        A base is often given with the `/v1` that the paths begin with themselves; it is not asked for twice.
        """
        base = self.base_url.rstrip("/")
        if path != self.path or path.startswith("/v1/"):
            base = base.removesuffix("/v1")
        return base + path

    def auth(self) -> dict[str, str]:
        """Return the headers that authorise a request."""
        return {"Authorization": f"Bearer {self.token.get_secret_value()}"} if self.token else {}

    def scrub(self, text: str) -> str:
        """Return what a server said as it may be kept: without the token or a part of it, for one that echoes what it
        was sent, and without control characters."""
        return clean(text, [self.token.get_secret_value()] if self.token else ())

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context for https, None for http."""
        if urlsplit(self.base_url).scheme != "https":
            return None
        return ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice to ask for: a name the server knows, or a reference to clone.

    `how` says how a reference travels: `register` beforehand as a named voice, with each `request`, or
    `auto`: registered where the dialect can, else with each request.
    """

    name: str | None = None
    reference: Path | None = None
    transcript: str | None = None
    how: Literal["auto", "register", "request"] = "auto"
    consent: str = "true"
    """Sent with a registration; the rights themselves were checked before (bench.inputs)."""

    @classmethod
    def by_name(cls, name: str) -> Self:
        """Return a voice the server already has."""
        return cls(name=name)

    @classmethod
    def clone(
        cls,
        reference: Path,
        transcript: str | None,
        *,
        name: str | None = None,
        how: Literal["auto", "register", "request"] = "auto",
    ) -> Self:
        """Return the voice of a reference clip.

        The default name carries a hash of clip and transcript: a server that keeps an old file of the same
        name (devnen server.py:677) can then never speak with another clip than this one.
        """
        try:
            digest = hashlib.sha256(reference.read_bytes() + (transcript or "").encode()).hexdigest()
        except OSError as error:
            raise BadInput(f"the reference {reference} cannot be read: {error.strerror}.") from error
        return cls(name or f"audition-{digest[:12]}", reference, transcript, how)

    @property
    def label(self) -> str:
        """Return the name that records carry."""
        return self.name or "default"

    def reference_bytes(self) -> bytes:
        """Return the reference clip's file, whole."""
        if self.reference is None:
            raise BadInput(f"voice '{self.label}' has no reference clip; give one to clone from.")
        return self.reference.read_bytes()
