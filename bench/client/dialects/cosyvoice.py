"""FunAudioLLM/CosyVoice runtime/python/fastapi/server.py: multipart in, headerless s16le out, no media type.

No header states the rate (22 050 Hz for CosyVoice 1, 24 000 Hz for 2), so the catalog entry must; the
project's own client assumes 22 050 for both (client.py:91). At commit ace7c47 zero-shot answers 200 with an
empty body (issues #1794, #1805): `zero_bytes`.
"""

from dataclasses import dataclass

from bench.client.dialects.base import Say, form, merge
from bench.client.target import Target, Voice
from bench.client.timing import HttpRequest, build_request


@dataclass(frozen=True, slots=True)
class CosyVoice:
    """Zero-shot with a transcript, cross-lingual without one, `sft` for a named speaker."""

    name: str = "cosyvoice"
    can_register: bool = False
    can_inline: bool = True
    caches_reference: bool = False

    def speak(self, target: Target, say: Say) -> HttpRequest:
        """Return the request; the API has no seed."""
        fields: dict[str, str | None] = {"tts_text": say.text}
        files = {}
        if say.inline:
            clip = (f"{say.voice.label}.wav", say.voice.reference_bytes(), "audio/wav")
            files = {"prompt_wav": clip}
            fields["prompt_text"] = say.voice.transcript
            path = "/inference_zero_shot" if say.voice.transcript else "/inference_cross_lingual"
        else:
            fields["spk_id"] = say.voice.name
            path = "/inference_sft"
        return build_request(
            "POST",
            target.url(target.path or path),
            target.auth(),
            data=form(merge(fields, target.request)),
            files=files or None,
        )

    def register(self, target: Target, voice: Voice) -> HttpRequest:
        """Not offered: `can_register` is false."""
        raise NotImplementedError("the CosyVoice server cannot register voices")
