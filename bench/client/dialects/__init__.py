"""The ways servers take speech requests: one small file a family, one Protocol.

A dialect only builds requests. What came back is told by the body itself (bench.client.bodies), so a server
that answers `pcm` with WAV, or `stream: true` with server-sent events, is read right all the same.
"""

from bench.client.dialects.base import Dialect, Say
from bench.client.dialects.cosyvoice import CosyVoice
from bench.client.dialects.devnen import Devnen
from bench.client.dialects.openai import OpenAISpeech
from bench.client.dialects.travisvn import Travisvn
from bench.errors import BadInput

__all__ = ["DIALECTS", "Dialect", "Say", "find_dialect"]

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        OpenAISpeech("openai", "pcm", stream_format="audio", stream=True),
        OpenAISpeech("openai_wav", "wav", stream_format="audio", stream=True),
        OpenAISpeech("openai_sse", "pcm", stream_format="sse", stream=True),
        OpenAISpeech("openai_file", "wav", stream_format=None, stream=None),
        Travisvn("travisvn", "/v1/audio/speech"),
        Travisvn("travisvn_stream", "/v1/audio/speech/stream"),
        Devnen(),
        CosyVoice(),
    )
}
"""By name; `openai` is also our own engine server's."""


def find_dialect(name: str) -> Dialect:
    """Return the dialect called `name`.

    Raises:
        BadInput: there is none.
    """
    if name not in DIALECTS:
        raise BadInput(f"unknown dialect '{name}'; there are: auto, {', '.join(DIALECTS)}.")
    return DIALECTS[name]
