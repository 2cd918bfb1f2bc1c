"""How far `graphed` is from upstream's arithmetic, and what each part takes, in one process that has the packages.

`python -m tests.gpu.cosyvoice2_parts STORE WORDS` prints one line of JSON; STORE is what
`tests.support.tiny_cosyvoice2` wrote, WORDS how many it says.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import soundfile

from bench.catalog.loader import load
from bench.serving.adapter import SpeechRequest
from bench.serving.cosyvoice2.adapter import CosyVoice2
from bench.serving.cosyvoice2.package import torch
from tests.support import tiny_cosyvoice2 as tiny
from tests.support.voiced import voiced

REFERENCE_S = 5.0
REFERENCE_TEXT = "and so the clerk went on to read the whole of the letter aloud in a calm voice."


def parts(store: str, words: int) -> None:
    """Print, as JSON, how far `graphed` is from upstream's arithmetic and what each part takes, in ms."""
    clip = Path(store) / "parts.wav"
    soundfile.write(clip, voiced(REFERENCE_S), 24000, subtype="PCM_16")
    found: dict[str, Any] = {"device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"}
    said: dict[str, Any] = {}
    for name in ("fixed", "graphed_fp32", "graphed"):
        engine = CosyVoice2()
        engine.load(load("cosyvoice2").profiles[name], tiny.pinned(Path(store)))
        engine.register("mine", clip, REFERENCE_TEXT)
        pieces = list(engine.synthesise(SpeechRequest(tiny.text(words), "mine", seed=5)))
        said[name] = engine.speech_tokens, torch.cat([torch.from_numpy(piece) for piece in pieces])
        found[name] = {"ms": _times(engine), "cuda_graphs": engine.read_back()["cuda_graphs"]}
        del engine
    tokens, wave = said["fixed"]
    for name in ("graphed_fp32", "graphed"):
        same = said[name][0] == tokens
        far = ((said[name][1] - wave).norm() / wave.norm()).item() if same else None
        found[name] |= {
            "same_tokens": same,
            "first_different": _first(said[name][0], tokens),
            "wave_rel_err": far,
        }
    print(json.dumps(found))


def _times(engine: CosyVoice2) -> dict[str, float]:
    """Return the median ms of each part; on a GPU with its work done."""

    def timed(call: Callable[[], object], often: int) -> float:
        spent = []
        for _ in range(often if torch.cuda.is_available() else 1):  # times of a CPU are of no use
            done()
            began = time.perf_counter()
            call()
            done()
            spent.append((time.perf_counter() - began) * 1000.0)
        return round(statistics.median(spent), 3)

    inner = engine._package.model
    device = inner.device
    done = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    with torch.inference_mode():
        found = {}
        for frames in (306, 606) if torch.cuda.is_available() else (30,):
            mel = torch.randn(1, 80, frames, device=device)
            given = {"mu": mel, "mask": torch.ones(1, 1, frames, device=device), "spks": mel[:, :, 0].contiguous(),
                     "cond": mel, "n_timesteps": 10, "streaming": True}  # fmt: skip
            found[f"flow_{frames}"] = timed(partial(inner.flow.decoder, **given), 5)
        sound = torch.randn(1, 80, 58, device=device)
        found["hift_58"] = timed(partial(inner.hift.inference, speech_feat=sound), 5)
        if engine._graphed is not None:
            decoder = engine._graphed.decoder
            prompt = torch.randn(1, 190, inner.llm.llm_input_size, device=device) * 0.02

            def token() -> None:
                decoder.step(5)
                decoder.best()

            found["llm_prompt_190"] = timed(partial(decoder.begin, prompt), 5)
            found["llm_token"] = timed(token, 50)
    return found


def _first(one: Sequence[int], other: Sequence[int]) -> int | None:
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)


if __name__ == "__main__":
    parts(sys.argv[1], int(sys.argv[2]))
