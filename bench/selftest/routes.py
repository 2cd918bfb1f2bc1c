"""Where each family of servers is asked for speech and with which fields, written by hand from their own sources.

The instrument answers nothing else, as those servers would not: another path is 404, a missing, wrong or (for
`openai_file`) unknown field is 422. Nothing here is taken from bench.client, whose dialects this is to check; the
sources are named there and in docs/measuring.md.
"""

import json
import re
from dataclasses import dataclass, field

TEXT = re.compile(r"take-[0-9a-z-]+|Is anybody there\?|.{40,}")
"""What the client says: a take's word, the probe's sentence, a warm-up or the voice check's text."""
NAME = "selftest"
_DATA_URL = re.compile(r"data:audio/wav;base64,[A-Za-z0-9+/=]{100,}")
_FILE = re.compile(r"RIFF.{4}WAVE.{100,}", re.DOTALL)
_REGISTERED = re.compile(r"audition-[0-9a-f]{12}")
Wanted = str | bool | re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Route:
    """One way to ask for speech. `exact`: a field that is not named here is refused."""

    path: str
    fields: dict[str, Wanted]
    exact: bool = False
    registered: str | None = None
    """The field that names a voice which must have been registered before; `<name>.wav` counts as the name."""

    def refuses(self, asked: dict[str, object], voices: set[str]) -> str | None:
        """Return what is wrong with the fields that were sent, or None."""
        for name, wanted in self.fields.items():
            if name not in asked:
                return f"field {name} is missing"
            if not _fits(asked[name], wanted):
                return f"field {name} is {str(asked[name])[:60]!r}"
        unknown = set(asked) - set(self.fields)
        if self.exact and unknown:
            return f"unknown fields: {', '.join(sorted(unknown))}"
        if self.registered and str(asked[self.registered]).removesuffix(".wav") not in voices:
            return f"no voice {asked[self.registered]!r} was registered"
        return None


@dataclass(frozen=True, slots=True)
class Family:
    """A family of servers. `listed` are the paths that its `/openapi.json` names; none: it has no such page."""

    routes: tuple[Route, ...]
    listed: tuple[str, ...] = ()
    upload: Route | None = None
    """How a reference is registered."""
    upload_name: str = "name"
    """The field (or `filename`) that names it."""


def _fits(value: object, wanted: Wanted) -> bool:
    if isinstance(wanted, re.Pattern):
        return isinstance(value, str) and wanted.fullmatch(value) is not None
    return type(value) is type(wanted) and value == wanted


def _openai(response_format: str, stream_format: str) -> Family:
    always: dict[str, Wanted] = {
        "model": re.compile(".+"), "input": TEXT, "response_format": response_format, "stream": True,
        "stream_format": stream_format,
    }  # fmt: skip
    path = "/v1/audio/speech"
    return Family(
        routes=(
            Route(path, {**always, "voice": NAME}),
            Route(path, {**always, "ref_audio": _DATA_URL, "ref_text": "a tone"}),
            Route(path, {**always, "voice": _REGISTERED}, registered="voice"),
        ),
        listed=(path, "/v1/audio/voices"),
        upload=Route("/v1/audio/voices", {"name": _REGISTERED, "ref_text": "a tone", "audio_sample": _FILE}),
    )


def _travisvn(path: str) -> tuple[Route, ...]:
    return (
        Route(path, {"input": TEXT, "voice": NAME}),
        Route(f"{path}/upload", {"input": TEXT, "voice_file": _FILE}),
    )


_TRAVISVN_LISTED = ("/v1/audio/speech", "/v1/audio/speech/upload", "/v1/audio/speech/stream")
_DEVNEN: dict[str, Wanted] = {"text": TEXT, "output_format": "wav"}
FAMILIES: dict[str, Family] = {
    "openai": _openai("pcm", "audio"),
    "openai_wav": _openai("wav", "audio"),
    "openai_sse": _openai("pcm", "sse"),
    "openai_file": Family(
        (
            Route(
                "/v1/audio/speech",
                {"model": re.compile(".+"), "input": TEXT, "voice": NAME, "response_format": "wav"},
                exact=True,
            ),
        )
    ),
    "travisvn": Family(_travisvn("/v1/audio/speech"), _TRAVISVN_LISTED),
    "travisvn_stream": Family(_travisvn("/v1/audio/speech/stream"), _TRAVISVN_LISTED),
    "devnen": Family(
        routes=(
            Route("/tts", {**_DEVNEN, "voice_mode": "predefined", "predefined_voice_id": NAME}),
            Route(
                "/tts",
                {
                    **_DEVNEN,
                    "voice_mode": "clone",
                    "reference_audio_filename": re.compile(r"audition-[0-9a-f]{12}\.wav"),
                },
                registered="reference_audio_filename",
            ),
        ),
        listed=("/tts", "/upload_reference"),
        upload=Route("/upload_reference", {"files": _FILE}),
        upload_name="filename",
    ),
    "cosyvoice": Family(
        routes=(
            Route("/inference_sft", {"tts_text": TEXT, "spk_id": NAME}),
            Route("/inference_zero_shot", {"tts_text": TEXT, "prompt_text": "a tone", "prompt_wav": _FILE}),
        ),
        listed=("/inference_sft", "/inference_zero_shot", "/inference_cross_lingual"),
    ),
    "anything": Family((Route("", {}),)),
}
"""By the name of the dialect that speaks to it; `anything` takes every path and field."""


@dataclass(slots=True)
class Desk:
    """One family's answers at one base URL: which requests it takes, and the voices it was given."""

    family: Family
    voices: set[str] = field(default_factory=set)

    def openapi(self) -> dict[str, object] | None:
        """Return what `/openapi.json` says, or None where there is none."""
        return (
            {"openapi": "3.1.0", "paths": {path: {} for path in self.family.listed}}
            if self.family.listed
            else None
        )

    def takes(self, path: str, head: bytes, body: bytes) -> tuple[str, str] | None:
        """Return None when the request is for speech and right, else (status, why not); `201` for a registration."""
        if self.family is FAMILIES["anything"]:
            return None
        asked = form(head, body)
        upload = self.family.upload
        if upload is not None and path == upload.path:
            if (wrong := upload.refuses(asked, self.voices)) is not None:
                return "422 Unprocessable", wrong
            self.voices.add(str(asked[self.family.upload_name]).removesuffix(".wav"))
            return "201 Created", "registered"
        here = [route for route in self.family.routes if route.path == path]
        if not here:
            return "404 Not Found", f"nothing is served at {path}"
        wrongs = [route.refuses(asked, self.voices) for route in here]
        return None if None in wrongs else ("422 Unprocessable", "; or ".join(str(wrong) for wrong in wrongs))


def form(head: bytes, body: bytes) -> dict[str, object]:
    """Return the fields of a JSON, multipart or urlencoded body; files as text of their bytes, and `filename`."""
    found = re.search(rb"(?i)content-type: *([^\r\n]+)", head)
    kind = found.group(1) if found else b""
    if kind.startswith(b"application/json"):
        value = json.loads(body)
        return value if isinstance(value, dict) else {}
    if kind.startswith(b"application/x-www-form-urlencoded"):
        pairs = (pair.partition(b"=") for pair in body.split(b"&"))
        return {key.decode(): re.sub(rb"\+", b" ", value).decode() for key, _, value in pairs}
    fields: dict[str, object] = {}
    if b"boundary=" in kind:
        for part in body.split(b"--" + kind.partition(b"boundary=")[2])[1:-1]:
            lines, _, value = part.partition(b"\r\n\r\n")
            name = re.search(rb'name="([^"]+)"', lines)
            file = re.search(rb'filename="([^"]+)"', lines)
            if name is not None:
                fields[name.group(1).decode()] = value.removesuffix(b"\r\n").decode("latin-1")
            if file is not None:
                fields["filename"] = file.group(1).decode()
    return fields
