"""travisvn/chatterbox-tts-api: `/v1/audio/speech` (a whole WAV), `/v1/audio/speech/stream` (chunked WAV,
header sent before synthesis: speech.py:468-470), and `…/upload` of either, which takes the reference as
`voice_file`.

An unknown voice silently becomes the default (speech.py:88-90): see bench.client.voicecheck. The `/upload`
form without a `voice_file` does the same.
"""

from dataclasses import dataclass

from bench.client.dialects.base import Say, form, merge
from bench.client.target import Target, Voice
from bench.client.timing import HttpRequest, build_request


@dataclass(frozen=True, slots=True)
class Travisvn:
    """JSON for a named voice, multipart for a reference."""

    name: str
    path: str
    can_register: bool = False
    can_inline: bool = True
    caches_reference: bool = False

    def speak(self, target: Target, say: Say) -> HttpRequest:
        """Return the request; the API has no seed."""
        url = target.url(target.path or self.path)
        fields = {"input": say.text, "model": say.model, "response_format": "wav", "stream_format": "audio"}
        if not say.inline:
            body = merge(fields | {"voice": say.voice.name}, target.request)
            return build_request("POST", url, target.auth(), json=body)
        return build_request(
            "POST",
            url + "/upload",
            target.auth(),
            data=form(merge(fields, target.request)),
            files={"voice_file": (f"{say.voice.label}.wav", say.voice.reference_bytes(), "audio/wav")},
        )

    def register(self, target: Target, voice: Voice) -> HttpRequest:
        """Not offered: `can_register` is false."""
        raise NotImplementedError(f"{self.name} cannot register voices")
