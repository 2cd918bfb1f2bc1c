"""OpenAI's speech API as servers extend it, and our own engine server.

Fields: openai-python speech_create_params.py (`input, model, voice, response_format, speed, stream_format`).
`stream`, `ref_audio` + `ref_text` and `POST /v1/audio/voices` are vllm-omni's (speech_api.md); kokoro-fastapi
streams by default and knows `stream` (schemas.py:163). OpenAI's own server rejects fields it does not know:
`openai_file` sends none.
"""

import base64
from dataclasses import dataclass
from typing import Any

from bench.client.dialects.base import DEFAULT_MODEL, Say, merge
from bench.client.target import Target, Voice
from bench.client.timing import HttpRequest, build_request


@dataclass(frozen=True, slots=True)
class OpenAISpeech:
    """`POST /v1/audio/speech` with a JSON body."""

    name: str
    response_format: str
    stream_format: str | None
    stream: bool | None
    caches_reference: bool = True

    @property
    def can_register(self) -> bool:
        """Not in the strict form."""
        return self.stream is not None

    @property
    def can_inline(self) -> bool:
        """Not in the strict form."""
        return self.stream is not None

    def speak(self, target: Target, say: Say) -> HttpRequest:
        """Return the request; a reference goes as a data URL with its transcript."""
        fields: dict[str, Any] = {
            "model": say.model or DEFAULT_MODEL,
            "input": say.text,
            "voice": None if say.inline else say.voice.name,
            "response_format": self.response_format,
            "stream": self.stream,
            "stream_format": self.stream_format,
            "seed": say.seed,
        }
        if say.inline:
            encoded = base64.b64encode(say.voice.reference_bytes()).decode()
            fields |= {"ref_audio": f"data:audio/wav;base64,{encoded}", "ref_text": say.voice.transcript}
        return build_request(
            "POST",
            target.url(target.path or "/v1/audio/speech"),
            target.auth(),
            json=merge(fields, target.request),
        )

    def register(self, target: Target, voice: Voice) -> HttpRequest:
        """Return the multipart registration."""
        fields = {"name": voice.label, "ref_text": voice.transcript, "consent": voice.consent}
        return build_request(
            "POST",
            target.url("/v1/audio/voices"),
            target.auth(),
            data=merge(fields, {}),
            files={"audio_sample": (f"{voice.label}.wav", voice.reference_bytes(), "audio/wav")},
        )
