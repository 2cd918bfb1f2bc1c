"""devnen/Chatterbox-TTS-Server: `POST /tts` (models.py:46-95).

An upload of a name that exists is silently ignored (server.py:677), so the uploaded name carries a hash of
the clip. The model encodes the reference anew for each request (chatterbox tts.py:219-220).
"""

from dataclasses import dataclass
from typing import Any

from bench.client.dialects.base import Say, merge
from bench.client.target import Target, Voice
from bench.client.timing import HttpRequest, build_request


@dataclass(frozen=True, slots=True)
class Devnen:
    """The server's own route; its `/v1/audio/speech` goes as `openai_file`."""

    name: str = "devnen"
    can_register: bool = True
    can_inline: bool = False
    caches_reference: bool = False

    def speak(self, target: Target, say: Say) -> HttpRequest:
        """Return the request: a registered reference is a `clone`, any other name a `predefined` voice."""
        fields: dict[str, Any] = {"text": say.text, "output_format": "wav", "stream": True, "seed": say.seed}
        if say.voice.reference is not None:
            fields |= {"voice_mode": "clone", "reference_audio_filename": f"{say.voice.label}.wav"}
        else:
            fields |= {"voice_mode": "predefined", "predefined_voice_id": say.voice.name}
        return build_request(
            "POST", target.url(target.path or "/tts"), target.auth(), json=merge(fields, target.request)
        )

    def register(self, target: Target, voice: Voice) -> HttpRequest:
        """Return the upload of the reference."""
        return build_request(
            "POST",
            target.url("/upload_reference"),
            target.auth(),
            files={"files": (f"{voice.label}.wav", voice.reference_bytes(), "audio/wav")},
        )
