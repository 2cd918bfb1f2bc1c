"""How far `graphed` is from upstream's arithmetic, and what each part takes, in one process that has the packages.

`python -m tests.gpu.chatterbox_parts STORE [--tiny]` prints one line of JSON; STORE is what
`tests.support.tiny_chatterbox` wrote.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from bench.catalog.loader import load
from bench.serving.adapter import SpeechRequest
from bench.serving.chatterbox.package import torch
from tests.support import tiny_chatterbox as tiny
from tests.support.voiced import voiced

REFERENCE_S = 10.0


def parts(store: Path, kind: type[tiny.FullSize]) -> None:
    """Print, as JSON, how far the graphed profiles are from upstream and what each part takes, in ms."""
    clip = store / "parts.wav"
    soundfile.write(clip, voiced(REFERENCE_S), 24000, subtype="PCM_16")
    found: dict[str, Any] = {"device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"}
    said: dict[str, Any] = {}
    for name in ("upstream", "graphed_whole", "graphed"):
        engine = kind()
        engine.load(load("chatterbox").profiles[name], tiny.pinned(store))
        engine.register("mine", clip, "")
        wave = np.concatenate(list(engine.synthesise(SpeechRequest(tiny.text(12), "mine", seed=5))))
        said[name] = engine.speech_tokens, wave
        about = engine.read_back()
        found[name] = {"ms": _times(engine, wave), "watermark": engine._watermark.detect(wave)}
        found[name] |= {key: about[key] for key in ("cuda_graphs", "kernels", "watermark_found")}
        del engine
    tokens, wave = said["upstream"]
    for name in ("graphed_whole", "graphed"):
        same, as_long = said[name][0] == tokens, len(said[name][1]) == len(wave)
        far = float(np.linalg.norm(said[name][1] - wave) / np.linalg.norm(wave)) if same and as_long else None
        first = _first(said[name][0], tokens)
        found[name] |= {"same_tokens": same, "first_different": first, "wave_rel_err": far}
    print(json.dumps(found))


def _times(engine: tiny.FullSize, wave: Any) -> dict[str, float]:
    """Return the median ms of each part; on a GPU with its work done."""

    def timed(call: Callable[[], object], often: int) -> float:
        spent = []
        for _ in range(often):
            done()
            began = time.perf_counter()
            call()
            done()
            spent.append((time.perf_counter() - began) * 1000.0)
        return round(statistics.median(spent), 3)

    package = engine._package
    device = package.t3.device
    done = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    with torch.inference_mode():
        found = {}
        for frames in (556, 750):
            mel = torch.randn(1, 80, frames, device=device)
            given = {"mu": mel, "mask": torch.ones(1, 1, frames, device=device), "spks": mel[:, :, 0].contiguous(),
                     "cond": mel, "n_timesteps": 10}  # fmt: skip
            if engine._graphed is not None:
                engine._graphed.solve.begin(growing=False)
            found[f"flow_{frames}"] = timed(partial(package.s3gen.flow.decoder, **given), 5)
        sound = torch.randn(1, 80, 58, device=device)
        found["hift_58"] = timed(partial(package.s3gen.hift_inference, sound), 5)
        found["watermark_1s"] = timed(partial(engine._watermark.mark, wave[:24000]), 5)
        if engine._graphed is not None:
            decoder = engine._graphed.decoder
            prompt = torch.randn(2, 80, package.t3.dim, device=device) * 0.02

            def token() -> None:
                decoder.step()
                int(decoder._token)

            found["t3_prompt_80"] = timed(partial(decoder.begin, prompt, 6561), 5)
            found["t3_token"] = timed(token, 50)
    return found


def _first(one: Sequence[int], other: Sequence[int]) -> int | None:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    parts(options.store, tiny.Tiny if options.tiny else tiny.FullSize)
