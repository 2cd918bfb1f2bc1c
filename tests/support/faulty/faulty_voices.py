"""Engines that go wrong, each in one way. They speak with espeak-ng until they do.

A catalog entry names them as `faulty_voices:Dying` (tests/support/entries.py makes one); their folder goes
into PYTHONPATH, which an engine inherits from whoever launches it. Nothing else is in that folder, so that an
engine still imports `bench` from where its own interpreter has it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.serving.adapter import LoadedInfo, Samples, SpeechRequest, SynthesisError
from bench.serving.espeak import Espeak


class _Faulty(Espeak):
    """Knows which cloned sentence it is asked for, counted from 1, warm-ups included."""

    def __init__(self) -> None:
        super().__init__()
        self.cloned = 0

    def synthesise(self, request: SpeechRequest) -> Iterator[Samples]:
        if request.voice != self.voices()[0]:
            self.cloned += 1
        return self.speak(request)

    def speak(self, request: SpeechRequest) -> Iterator[Samples]:
        return super().synthesise(request)


class Dying(_Faulty):
    """Its process ends in the middle of the fifth cloned sentence."""

    def speak(self, request: SpeechRequest) -> Iterator[Samples]:
        for piece in super().speak(request):
            yield piece
            if self.cloned == 5:
                print("out of memory, says the faulty engine", file=sys.stderr, flush=True)
                os._exit(9)


class Hung(_Faulty):
    """Its whole process stops at the second cloned sentence, and neither answers nor ends."""

    def speak(self, request: SpeechRequest) -> Iterator[Samples]:
        if self.cloned == 2:
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().speak(request)


class Loading(_Faulty):
    """Never has done with loading."""

    def load(self, profile: Mapping[str, Any], weights: Mapping[str, Path]) -> LoadedInfo:
        time.sleep(3600)
        return super().load(profile, weights)


class OneInTen(_Faulty):
    """Has nothing to say to the seventh cloned sentence."""

    def speak(self, request: SpeechRequest) -> Iterator[Samples]:
        if self.cloned == 7:
            raise SynthesisError("the model produced nothing usable")
        yield from super().speak(request)


class Silent(_Faulty):
    """Clones to a second of silence."""

    def speak(self, request: SpeechRequest) -> Iterator[Samples]:
        if self.cloned:
            return iter([np.zeros(self.sample_rate_hz, np.float32)])
        return super().speak(request)


class Cut(_Faulty):
    """Fails once the first piece is out."""

    def speak(self, request: SpeechRequest) -> Iterator[Samples]:
        yield next(super().speak(request))
        raise SynthesisError("it broke off")


class NotANumber(_Faulty):
    """Gives NaN."""

    def speak(self, request: SpeechRequest) -> Iterator[Samples]:
        return iter([np.full(100, np.nan, np.float32)])


class Empty(_Faulty):
    """Gives nothing, and no error."""

    def speak(self, request: SpeechRequest) -> Iterator[Samples]:
        return iter([np.zeros(0, np.float32)])


def _find_hum_pieces() -> str | None:
    files = (Path(folder) / "hum_pieces" for folder in sys.path)
    return next((file.read_text() for file in files if file.is_file()), None)


class Slow(_Faulty):
    """Hums a minute in small pieces, as long as it is listened to; `/health` says how far it came.

    AUDITION_HUM_PIECES in its environment makes it shorter, or a file `hum_pieces` in a folder of PYTHONPATH, since an
    engine is not given the whole environment of who launches it; with 0 it speaks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wanted = int(os.environ.get("AUDITION_HUM_PIECES") or _find_hum_pieces() or "1200")
        self.begun = 0
        self.pieces = 0
        self.left_early = 0

    def speak(self, request: SpeechRequest) -> Iterator[Samples]:
        if self.wanted == 0:
            yield from super().speak(request)
        self.begun += 1
        time_s = np.arange(self.sample_rate_hz // 20) / self.sample_rate_hz
        hum = (0.25 * np.sin(2 * np.pi * 120 * time_s)).astype(np.float32)
        try:
            for _ in range(self.wanted):
                self.pieces += 1
                yield hum
                time.sleep(0.05)
        except GeneratorExit:
            self.left_early += 1
            raise

    def memory(self) -> dict[str, int]:
        return {"begun": self.begun, "pieces": self.pieces, "left_early": self.left_early}


class Threaded(_Faulty):
    """`/health` says in how many threads it was loaded, registered voices and spoke, every piece counted."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()
        self.calls = 0

    def _here(self) -> None:
        self.threads.add(threading.get_ident())
        self.calls += 1

    def load(self, profile: Mapping[str, Any], weights: Mapping[str, Path]) -> LoadedInfo:
        self._here()
        return super().load(profile, weights)

    def register(self, name: str, audio: Path, text: str) -> None:
        self._here()
        super().register(name, audio, text)

    def speak(self, request: SpeechRequest) -> Iterator[Samples]:
        self._here()
        if request.text == "fail":
            raise SynthesisError("as asked")
        try:
            for piece in super().speak(request):
                self._here()
                yield piece
        finally:
            self._here()

    def memory(self) -> dict[str, int]:
        return {"threads": len(self.threads), "calls": self.calls}


class Disobedient(_Faulty):
    """Runs with another setting than it was told."""

    def read_back(self) -> dict[str, Any]:
        return super().read_back() | {"words_per_minute": 99}


class Drifting(_Faulty):
    """Changes a setting at its fourth cloned sentence, and keeps it so."""

    def read_back(self) -> dict[str, Any]:
        return super().read_back() | ({"words_per_minute": 99} if self.cloned > 3 else {})


class Retrying(_Faulty):
    """Needs float32 twice for its third cloned sentence and once for its first, and counts that."""

    def read_back(self) -> dict[str, Any]:
        retries = (0, 1, 1, 3)[min(self.cloned, 3)]
        return super().read_back() | {"fp32_retries": retries}


class Unloadable(_Faulty):
    """Cannot load its model."""

    def load(self, profile: Mapping[str, Any], weights: Mapping[str, Path]) -> LoadedInfo:
        raise FileNotFoundError("model.safetensors is not there")


class Loud(_Faulty):
    """Cannot be loaded, and colours what it says of that."""

    def load(self, profile: Mapping[str, Any], weights: Mapping[str, Path]) -> LoadedInfo:
        raise RuntimeError("\x1b]0;a title\x07\x1b[2J\x1b[31mred\x1b[0m: no such\x00 layer\x07")


class Stillborn(_Faulty):
    """Its process ends while it loads."""

    def load(self, profile: Mapping[str, Any], weights: Mapping[str, Path]) -> LoadedInfo:
        print("CUDA error, says the faulty engine", file=sys.stderr, flush=True)
        os._exit(3)


class NeverReady(_Faulty):
    """Loads for ever."""

    def load(self, profile: Mapping[str, Any], weights: Mapping[str, Path]) -> LoadedInfo:
        time.sleep(600)
        raise AssertionError
