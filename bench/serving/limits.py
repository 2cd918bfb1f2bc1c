"""What an engine's server takes and keeps: limits that are looked at before anything is decoded, each named when it is
met (HTTP 413, 422 or 429).

An engine has the host's memory to itself only beside a neighbour that needs the rest.
"""

import io

import soundfile
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bench.serving.adapter import BadReference

MAX_REFERENCE_BYTES = 16 * 1024**2
MAX_BODY_BYTES = 24 * 1024**2
"""Of a request: such a reference in base64, and its words."""
MAX_REFERENCE_S = 120.0
"""By its header, before it is decoded: a FLAC of 181 KB may hold hours. No model here takes over 30 s."""
RATES_HZ = (8_000, 192_000)
MAX_CHANNELS = 2
MAX_TEXT = 100_000
"""Characters to speak."""
MAX_WORDS = 10_000
"""Characters of a reference's transcript."""
MAX_VOICES = 1_000
MAX_KEPT_BYTES = 1024**3
"""All registered references together: a container keeps them in memory."""
MAX_REQUESTS = 256
"""That wait for the model or are being answered."""
MAX_UNREAD_BYTES = 64 * 1024**2
"""Speech of one request that nobody has read yet: 22 minutes at 24 kHz."""
SEND_LIMIT_S = 60.0
"""So long a client may read nothing."""
_MOST_DISCARDED_BYTES = 1024**3


class TooLarge(HTTPException):
    """A body, or something in it, is larger than the limit that the message names (413)."""

    def __init__(self, message: str) -> None:
        super().__init__(413, message)


class TooMany(RuntimeError):
    """Something is there as often as it may be (429); the message says what."""


def check_text(text: str) -> str:
    """Return a text as it was.

    Raises:
        ValueError: it holds a NUL or half a character: programs and files end a text there without a word.
    """
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise ValueError("holds a NUL or half a character (U+0000, U+D800 to U+DFFF)")
    return text


def check_audio(audio: bytes) -> None:
    """Look at the header of a reference; nothing is decoded.

    Raises:
        TooLarge: more bytes, seconds or channels than are taken.
        BadReference: no audio, or a rate that no speech has.
    """
    if len(audio) > MAX_REFERENCE_BYTES:
        raise TooLarge(f"the reference is larger than {MAX_REFERENCE_BYTES >> 20} MiB")
    try:
        with soundfile.SoundFile(io.BytesIO(audio)) as file:
            rate, channels, frames = file.samplerate, file.channels, file.frames
    except (soundfile.SoundFileError, ValueError, TypeError) as error:
        raise BadReference(f"the reference cannot be read as audio: {error}") from error
    low, high = RATES_HZ
    if not low <= rate <= high:
        raise BadReference(f"the reference states {rate} Hz; {low} to {high} Hz are taken")
    if channels > MAX_CHANNELS:
        raise TooLarge(f"the reference has {channels} channels; at most {MAX_CHANNELS} are taken")
    if frames / rate > MAX_REFERENCE_S:
        raise TooLarge(
            f"the reference lasts {frames / rate:.0f} s; at most {MAX_REFERENCE_S:.0f} s are taken"
        )


class BodyLimit:
    """Answers 413 to a request with a body over `MAX_BODY_BYTES`, stated or not, and keeps none of it."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand around `app`."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is received of a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen, over = 0, False

        async def counted() -> Message:
            nonlocal seen, over
            message = await receive()
            seen += len(message.get("body", b""))
            if over or seen > MAX_BODY_BYTES:
                over = True
                # Read to its end, and let fall: who is still writing would never read the answer.
                while message.get("more_body") and seen < _MOST_DISCARDED_BYTES:
                    message = await receive()
                    seen += len(message.get("body", b""))
                raise TooLarge(f"the request's body is larger than {MAX_BODY_BYTES >> 20} MiB")
            return message

        await self._app(scope, counted, send)
