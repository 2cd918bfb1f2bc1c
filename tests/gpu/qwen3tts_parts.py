"""How far the graphed profiles are from upstream's arithmetic, and what each part takes, in one process that has the
packages.

`python -m tests.gpu.qwen3tts_parts STORE [--size 1.7b] [--tiny]` prints one line of JSON; STORE is what
`tests.support.tiny_qwen3tts` wrote. In float32 the codes ought to be upstream's; in bfloat16, as the profiles are, two
orders of adding up may draw another code sooner or later, and from there on all is another utterance.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from bench.catalog.loader import load
from bench.serving.adapter import SpeechRequest
from bench.serving.qwen3tts.decoding import Prompt
from bench.serving.qwen3tts.package import torch
from tests.support import tiny_qwen3tts as tiny
from tests.support.voiced import voiced

REFERENCE_S = 10.0
WORDS = "and so the clerk went on to read the whole of the letter aloud in a calm voice."


def parts(store: Path, size: str, kind: type[tiny.FullSize]) -> None:
    """Print, as JSON, how far the graphed profiles are from upstream and what each part takes, in ms."""
    clip = store / "parts.wav"
    soundfile.write(clip, voiced(REFERENCE_S), 24000, subtype="PCM_16")
    found: dict[str, Any] = {"device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"}
    profiles = load("qwen3_tts_06b").profiles
    for dtype in ("float32", "bfloat16"):
        said: dict[str, Any] = {}
        for name in ("upstream", "graphed_whole", "graphed"):
            engine = kind()
            engine.load(profiles[name] | {"dtype": dtype}, tiny.pinned(store, size))
            began = time.perf_counter()
            engine.register("mine", clip, WORDS)
            enrolled = (time.perf_counter() - began) * 1000.0
            wave = np.concatenate(list(engine.synthesise(SpeechRequest(tiny.text(6), "mine", seed=5))))
            said[name] = engine.codes, wave
            about = {"enrol": round(enrolled, 1)} | _times(engine)
            found[f"{name} {dtype}"] = {"ms": about, "cuda_graphs": engine.read_back()["cuda_graphs"]}
            del engine
        codes, wave = said["upstream"]
        for name in ("graphed_whole", "graphed"):
            mine, heard = said[name]
            same = mine == codes
            # Upstream may leave the reference's last sample in.
            far = heard - wave[-len(heard) :] if same else None
            different = (n for n, (a, b) in enumerate(zip(mine, codes, strict=False)) if a != b)
            found[f"{name} {dtype}"] |= {
                "same_codes": same,
                "first_different": next(different, None),
                "wave_rel_err": None if far is None else float(np.linalg.norm(far) / np.linalg.norm(wave)),
            }
    print(json.dumps(found))


def _times(engine: tiny.FullSize) -> dict[str, float]:
    """Return the median ms of each part; on a GPU with its work done."""
    done = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None

    def timed(call: Callable[[], object], often: int) -> float:
        spent = []
        for _ in range(often):
            done()
            began = time.perf_counter()
            call()
            done()
            spent.append((time.perf_counter() - began) * 1000.0)
        return round(statistics.median(spent), 3)

    found = {}
    codec, device = engine._codec, engine._package.device
    with torch.inference_mode():
        for frames in (31, 50):
            codes = torch.randint(0, 2048, (1, 16, frames), device=device)
            found[f"decode_{frames}"] = timed(partial(codec.decoder, codes), 5)
    if engine._decoder is not None:
        decoder, talker = engine._decoder, engine._package.model.talker
        x = torch.randn(1, 140, talker.config.hidden_size, device=device).to(talker.codec_head.weight.dtype)
        prompt = Prompt(x * 0.02, x[:, :1], x[:, :1])

        def frame() -> None:
            decoder._step()
            int(decoder._token)

        found["prompt_140"] = timed(partial(decoder._begin, prompt), 5)
        found["frame"] = timed(frame, 30)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--size", choices=tiny.SIZES, default="0.6b")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    parts(options.store, options.size, tiny.Tiny if options.tiny else tiny.FullSize)
