"""The one HTTP server in front of every adapter (design: "The engine's HTTP API").

Three promises that clients measure by:

- headers leave only when audio exists, so a failure before that is an HTTP error with a JSON body;
- each piece of audio is sent when the adapter yields it, nothing is gathered up;
- a failure in mid-stream aborts the connection, so a cut take can never pass for a whole one.

One worker thread owns the model: requests queue in order and one solve runs at a time. A client that goes
away stops its own solve at the next piece, and is not spoken to at all where it was still waiting for its turn.
"""

import argparse
import asyncio
import base64
import hashlib
import importlib
import json
import os
import socket
import sys
import tempfile
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import uvicorn
from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import AfterValidator, BaseModel, Field
from starlette.types import Message, Receive, Scope, Send

from bench.serving import limits
from bench.serving.adapter import (
    Adapter,
    BadReference,
    LoadedInfo,
    Samples,
    SpeechRequest,
    SynthesisError,
    UnknownVoice,
)
from bench.serving.config import CONFIG_VARIABLE, EngineConfig
from bench.serving.limits import BodyLimit, TooLarge, TooMany, check_audio, check_text
from bench.serving.parent import die_with_parent

_LAST_WORDS_S = 1
"""An engine that is told to end in mid-take ends: whoever told it wants the memory."""
T = TypeVar("T")
Text = Annotated[str, AfterValidator(check_text)]


class SpeechBody(BaseModel):
    """`POST /v1/audio/speech`: OpenAI's fields, and the reference either registered or sent along."""

    input: Text = Field(min_length=1, max_length=limits.MAX_TEXT)
    model: Text | None = None
    voice: Text | None = None
    response_format: Literal["pcm", "wav"] = "pcm"
    stream: bool = True
    stream_format: Literal["audio", "sse"] = "audio"
    speed: float = Field(default=1.0, ge=0.25, le=4.0)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    ref_audio: str | None = None
    """A data URL or bare base64 of the reference clip."""
    ref_text: Text = Field(default="", max_length=limits.MAX_WORDS)


@dataclass(frozen=True)
class _Failure:
    status: int
    kind: str
    message: str

    def response(self) -> JSONResponse:
        return JSONResponse({"error": {"kind": self.kind, "message": self.message}}, self.status)


class _ClientGone(Exception):
    """Whoever asked does not wait for the answer any more."""


def _failure(error: BaseException) -> _Failure:
    match error:
        case UnknownVoice():
            return _Failure(404, "unknown_voice", str(error))
        case BadReference():
            return _Failure(400, "bad_reference", str(error))
        case TooLarge():
            return _Failure(413, "too_large", error.detail)
        case TooMany():
            return _Failure(429, "too_many", str(error))
        case SynthesisError():
            return _Failure(500, "synthesis_failed", str(error))
        case _:
            return _Failure(500, "internal", f"{type(error).__name__}: {error}")


def to_s16le(samples: Samples) -> bytes:
    """Return float samples, shape (n,), full scale +-1, as 16-bit little-endian PCM.

    Raises:
        SynthesisError: a sample is not finite; silence or noise is never sent in its place.
    """
    if not np.isfinite(samples).all():
        raise SynthesisError("the model produced NaN or infinite samples")
    return (np.clip(samples, -1.0, 1.0) * 32767.0).round().astype("<i2").tobytes()


def wav_header(rate_hz: int, data_bytes: int | None) -> bytes:
    """Return a 44-byte RIFF header for 16-bit mono; unknown sizes are 0xFFFFFFFF (RFC 2361 practice)."""
    data = 0xFFFFFFFF if data_bytes is None else data_bytes
    riff = 0xFFFFFFFF if data_bytes is None else data_bytes + 36
    return (
        b"RIFF" + riff.to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
        + (1).to_bytes(2, "little") + (1).to_bytes(2, "little") + rate_hz.to_bytes(4, "little")
        + (rate_hz * 2).to_bytes(4, "little") + (2).to_bytes(2, "little") + (16).to_bytes(2, "little")
        + b"data" + data.to_bytes(4, "little")
    )  # fmt: skip


class ModelThread:
    """The adapter and the single thread that owns it."""

    def __init__(self, config: EngineConfig, adapter: Adapter) -> None:
        self.config = config
        self.adapter = adapter
        self.info: LoadedInfo | None = None
        self.load_error: str | None = None
        self._own: frozenset[str] = frozenset()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._scratch = tempfile.TemporaryDirectory(prefix="audition-engine-")
        self._kept_bytes = 0
        self._requests = 0

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """Run `function` on the thread that owns the model, in its turn."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *arguments)

    async def load(self) -> None:
        """Load the model; `/health` turns ready, or keeps the error."""
        try:
            info = await self.call(self.adapter.load, self.config.profile, self.config.weights)
            self._own, self.info = frozenset(self.adapter.voices()), info
        except Exception as error:  # noqa: BLE001 - whatever the package raises, /health must say it
            self.load_error = f"{type(error).__name__}: {error}"
            print(f"load failed: {self.load_error}", file=sys.stderr, flush=True)  # noqa: T201

    def forget(self) -> None:
        """Remove the references from the disk: uvicorn ends by its signal again, which runs no finaliser."""
        self._scratch.cleanup()

    async def register(self, name: str, audio: bytes, text: str) -> None:
        """Keep `audio` on disk and let the adapter encode it as voice `name`.

        Raises:
            BadReference: the clip cannot be used, or the name is one of the model's own voices.
            TooLarge, TooMany: of what the limits say.
        """
        check_audio(audio)
        if name in self._own:
            raise BadReference(
                f"'{name}' is a voice of the model's own; register the clip under another name"
            )
        path = Path(self._scratch.name) / f"{hashlib.sha256(audio).hexdigest()}.wav"

        def keep() -> None:  # in the model's thread, so that nobody reads the file while it is written
            if len(voices := self.adapter.voices()) >= limits.MAX_VOICES and name not in voices:
                raise TooMany(f"{limits.MAX_VOICES} voices are registered, the most that there may be")
            new = not path.exists()
            if new and self._kept_bytes + len(audio) > limits.MAX_KEPT_BYTES:
                raise TooMany(
                    f"the references kept have {limits.MAX_KEPT_BYTES >> 20} MiB, the most that they may have"
                )
            path.write_bytes(audio)
            try:
                self.adapter.register(name, path, text)
            except BaseException:
                if new:  # else it is another voice's too
                    path.unlink()
                raise
            self._kept_bytes += len(audio) if new else 0

        await self.call(keep)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one of the places for requests.

        Raises:
            TooMany: none is free.
        """
        if self._requests >= limits.MAX_REQUESTS:
            raise TooMany(f"{limits.MAX_REQUESTS} requests wait or are answered, the most that there may be")
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
        """Yield s16le pieces as the adapter makes them; what nobody reads is not gathered up without end.

        Whoever asks closes it (`aclose`): its place would be taken until the collector comes by.
        """
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
        gone = threading.Event()
        made = read = 0

        def produce() -> None:
            nonlocal made
            end: BaseException | None = None
            source: Iterator[Samples] | None = None
            try:
                if gone.is_set():
                    return
                source = self.adapter.synthesise(request)
                for samples in source:
                    if gone.is_set():
                        break
                    piece = to_s16le(samples)
                    made += len(piece)
                    if made - read > limits.MAX_UNREAD_BYTES:
                        raise _unread()
                    loop.call_soon_threadsafe(pieces.put_nowait, piece)
            except BaseException as error:  # noqa: BLE001 - handed to the request, which answers with it
                end = error
            finally:
                close = getattr(source, "close", None)
                if close is not None:
                    close()
                loop.call_soon_threadsafe(pieces.put_nowait, end)

        async with self.place():
            self._worker.submit(produce)
            try:
                while True:
                    piece = await pieces.get()
                    if piece is None:
                        return
                    if isinstance(piece, BaseException):
                        raise piece
                    read += len(piece)
                    yield piece
            finally:
                gone.set()

    def health(self) -> dict[str, Any]:
        """Return the body of `/health`; settings are read back from the loaded objects."""
        info = self.info
        return {
            "ready": info is not None,
            "model": self.config.model,
            "revision": info.revision if info else None,
            "profile": self.adapter.read_back() if info else None,
            "device": info.device if info else None,
            "nonce": self.config.nonce,
            "sample_rate_hz": self.adapter.sample_rate_hz if info else None,
            "memory": self.adapter.memory() if info else None,
            "error": self.load_error,
            "pid": os.getpid(),
        }


def create_app(config: EngineConfig, adapter: Adapter) -> FastAPI:
    """Return the server's application around one adapter."""
    engine = ModelThread(config, adapter)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(engine.load())
        yield
        loading.cancel()
        engine.forget()

    app = FastAPI(title="Audition engine", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(BodyLimit)

    @app.exception_handler(TooLarge)
    async def too_large(_: Request, error: TooLarge) -> JSONResponse:
        return _failure(error).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
        return _Failure(422, "invalid_request", faults).response()

    @app.get("/health")
    async def health() -> JSONResponse:
        return JSONResponse(engine.health(), 200 if engine.info else 503)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": config.model, "object": "model", "owned_by": "audition"}]}

    @app.get("/v1/audio/voices")
    async def voices() -> dict[str, Any]:
        return {"voices": engine.adapter.voices()}

    @app.post("/v1/audio/voices", status_code=201)
    async def add_voice(
        audio_sample: Annotated[UploadFile, File()],
        name: Annotated[Text, Form(min_length=1, max_length=200)],
        ref_text: Annotated[Text, Form(max_length=limits.MAX_WORDS)] = "",
        consent: Annotated[str, Form()] = "",
    ) -> Response:
        del consent  # taken for compatibility; the rights statement is checked before a run begins
        audio = await audio_sample.read()
        try:
            async with engine.place():
                await engine.register(name, audio, ref_text)
        except Exception as error:  # noqa: BLE001 - answered as an HTTP error
            return _failure(error).response()
        return JSONResponse({"name": name}, 201)

    @app.post("/v1/audio/speech")
    async def speech(body: SpeechBody, request: Request) -> Response:
        if engine.info is None:
            return _Failure(503, "not_ready", engine.load_error or "the model is loading").response()
        try:
            voice, cached = await _voice(engine, body)
        except Exception as error:  # noqa: BLE001 - answered as an HTTP error
            return _failure(error).response()
        pieces = engine.speak(SpeechRequest(body.input, voice, body.speed, body.seed))
        try:
            pcm = await _while_there(request, _first(pieces) if body.stream else _whole(pieces))
        except BaseException as error:
            await pieces.aclose()
            match error:
                case _ClientGone():
                    return Response(status_code=499)  # which nobody reads
                case Exception():
                    return _failure(error).response()
            raise
        answer = _answer(body, engine.adapter.sample_rate_hz, pcm, pieces)
        if cached is not None:
            answer.headers["X-Reference-Cached"] = str(cached).lower()
        return answer

    return app


async def _voice(engine: ModelThread, body: SpeechBody) -> tuple[str, bool | None]:
    """Return the voice to speak in, and of a reference sent along whether it had been encoded before."""
    if body.ref_audio is None:
        if not body.voice:
            raise UnknownVoice(f"give `voice` or `ref_audio`; voices: {', '.join(engine.adapter.voices())}")
        return body.voice, None
    try:
        audio = base64.b64decode(body.ref_audio.rpartition(",")[2], validate=True)
    except ValueError as error:
        raise BadReference("ref_audio is neither a data URL nor base64") from error
    name = "ref-" + hashlib.sha256(audio + b"\0" + body.ref_text.encode()).hexdigest()[:16]
    cached = name in engine.adapter.voices()
    if not cached:
        await engine.register(name, audio, body.ref_text)
    return name, cached


def _unread() -> TooLarge:
    most = limits.MAX_UNREAD_BYTES >> 20
    return TooLarge(
        f"more than {most} MiB of speech wait to be read; ask for it as a stream, and read that as it comes"
    )


async def _first(pieces: AsyncIterator[bytes]) -> bytes:
    async for piece in pieces:
        if piece:
            return piece
    raise SynthesisError("the model produced no audio")


async def _whole(pieces: AsyncIterator[bytes]) -> bytes:
    gathered = bytearray(await _first(pieces))
    async for piece in pieces:
        gathered += piece
        if len(gathered) > limits.MAX_UNREAD_BYTES:
            raise _unread()
    return bytes(gathered)


async def _while_there(request: Request, wanted: Coroutine[Any, Any, T]) -> T:
    """Return what is waited for, unless the client goes away first: then it is cancelled.

    Raises:
        _ClientGone: it did. Once an answer is being sent, Starlette looks after that itself.
    """
    work, gone = asyncio.create_task(wanted), asyncio.create_task(_left(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise _ClientGone
    finally:
        for task in (work, gone):
            task.cancel()
        await asyncio.wait({work, gone})


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer(body: SpeechBody, rate: int, pcm: bytes, rest: AsyncGenerator[bytes, None]) -> Response:
    """Return the answer: `pcm` is all of it, or the first piece of a stream that goes on with `rest`."""
    headers = {"X-Sample-Rate": str(rate), "Cache-Control": "no-store"}
    wav = body.response_format == "wav"
    media = "audio/wav" if wav else f"audio/pcm;rate={rate};channels=1"
    if not body.stream:
        return Response((wav_header(rate, len(pcm)) if wav else b"") + pcm, media_type=media, headers=headers)

    async def audio() -> AsyncIterator[bytes]:
        yield (wav_header(rate, None) if wav else b"") + pcm
        async for piece in rest:
            yield piece

    async def events() -> AsyncIterator[bytes]:
        async for piece in audio():
            delta = {"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()}
            yield f"data: {json.dumps(delta)}\n\n".encode()
        yield b'data: {"type":"speech.audio.done"}\n\n'

    if body.stream_format == "sse":
        return _Stream(events(), rest, "text/event-stream", headers)
    return _Stream(audio(), rest, media, headers)


class _Stream(StreamingResponse):
    """A stream whose client is given up where it reads nothing for too long, and whose source is closed at its end."""

    def __init__(
        self,
        said: AsyncIterator[bytes],
        source: AsyncGenerator[bytes, None],
        kind: str,
        headers: dict[str, str],
    ) -> None:
        super().__init__(said, media_type=kind, headers=headers)
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; however that ends, the place is free."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._source.aclose()

    async def stream_response(self, send: Send) -> None:
        """Send what there is; each piece has its limit.

        Raises:
            TimeoutError: the client did not read; the server aborts the connection.
        """

        async def in_time(message: Message) -> None:
            await asyncio.wait_for(send(message), limits.SEND_LIMIT_S)

        await super().stream_response(in_time)


def load_adapter(target: str) -> Adapter:
    """Import `module:Class` and make the adapter."""
    module, _, name = target.partition(":")
    adapter: Adapter = getattr(importlib.import_module(module), name)()
    return adapter


def main() -> None:
    """Serve one model until told to stop; the launcher starts this."""
    parser = argparse.ArgumentParser(prog="bench.serving.server", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--fd", type=int, help="a listening socket handed down by the launcher")
    where.add_argument("--port", type=int, help="port to listen on, on all interfaces (in a container)")
    parser.add_argument("--parent", type=int, help="process whose death ends this one")
    options = parser.parse_args()
    if options.parent is not None:
        die_with_parent(options.parent)
    config = EngineConfig.model_validate_json(os.environ[CONFIG_VARIABLE])
    if options.fd is not None:
        listener = socket.socket(fileno=options.fd)
    else:
        listener = socket.create_server(("0.0.0.0", options.port))  # noqa: S104 - inside a container
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(config, load_adapter(config.adapter)),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=_LAST_WORDS_S,
        )
    )
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
