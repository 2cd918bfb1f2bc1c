"""CosyVoice 2 with its two long parts in CUDA graphs, and its first chunk first.

Upstream's own pieces remain what they are: the prompt is put together by `Qwen2LM.inference`, a chunk is made by
`CosyVoice2Model.token2wav`. In their places are the language model's loop (decoding.py), the flow's solve (flow.py) and
the loop around both, which here

- waits for tokens instead of looking for them every 100 ms;
- lets the language model rest once the first chunk has its tokens, until that chunk is out: on its way it would take
  its share of GPU and interpreter from it, and the first chunk would come later the longer the text is;
- leaves torch's memory to torch (upstream empties its cache after every sentence);
- lets the vocoder compute its normalised weights once instead of for every chunk.
"""

import threading
import uuid as uuids
from collections.abc import Iterator
from typing import Any

from torch.nn.utils import parametrize

from bench.serving.cosyvoice2.decoding import Decoder, draw
from bench.serving.cosyvoice2.flow import GraphedSolve, without_reads
from bench.serving.cosyvoice2.package import torch
from bench.serving.cosyvoice2.settings import CosyVoiceSettings
from bench.serving.cosyvoice2.upstream import HOP, LlmThread, OwnDraws

PREPARED_S = 14.0
"""Speech of one sentence for whose lengths graphs are captured beforehand; longer ones are captured when they come."""
_FRAMES_PER_TOKEN = 2


class Graphed:
    """Stands for `CosyVoice2Model.tts`."""

    def __init__(self, model: Any, thread: LlmThread, draws: OwnDraws, settings: CosyVoiceSettings) -> None:
        """Take over a loaded and mended model."""
        self._model, self._thread, self._draws = model, thread, draws
        self.decoder = Decoder(model.llm, getattr(torch, settings.llm_dtype))
        self.decoder.capture()
        self.solve = GraphedSolve(model.flow.decoder, getattr(torch, settings.flow_dtype))
        model.flow.decoder.solve_euler = self.solve.solve
        model.flow.encoder.forward = without_reads(model.flow.encoder)
        self.baked = bake(model.hift)
        self._first_out = threading.Event()
        self._first_tokens = 0
        self._came = thread.ended
        model.llm.inference_wrapper = self._tokens
        model.tts = self.tts

    def prepare(self, prompt_tokens: int) -> None:
        """Capture the flow's graphs for a voice whose reference is so many tokens."""
        longest = prompt_tokens + round(PREPARED_S * HOP)
        self.solve.prepare((prompt_tokens + HOP) * _FRAMES_PER_TOKEN, longest * _FRAMES_PER_TOKEN)

    def tts(
        self,
        text: Any,
        flow_embedding: Any,
        llm_embedding: Any,
        prompt_text: Any,
        llm_prompt_speech_token: Any,
        flow_prompt_speech_token: Any,
        prompt_speech_feat: Any,
        stream: bool = False,
        speed: float = 1.0,
        **_: Any,
    ) -> Iterator[dict[str, Any]]:
        """Yield a sentence's chunks, cut where upstream cuts them: 25 tokens, then 50, then 100 each."""
        model, uuid = self._model, str(uuids.uuid1())
        with model.lock:
            model.tts_speech_token_dict[uuid], model.llm_end_dict[uuid] = [], False
            model.hift_cache_dict[uuid] = None
        tokens = model.tts_speech_token_dict[uuid]
        prompt = flow_prompt_speech_token.shape[1]
        hop, ahead, offset = HOP, model.flow.pre_lookahead_len, 0
        wanted = hop + -prompt % hop
        self._first_out.clear()
        self._first_tokens = wanted + ahead if stream else 0
        job = threading.Thread(
            target=model.llm_job, args=(text, prompt_text, llm_prompt_speech_token, llm_embedding, uuid)
        )

        def chunk(upto: int | None, **how: Any) -> dict[str, Any]:
            speech = model.token2wav(
                token=torch.tensor(tokens[:upto]).unsqueeze(0), prompt_token=flow_prompt_speech_token,
                prompt_feat=prompt_speech_feat, embedding=flow_embedding, token_offset=offset, uuid=uuid, **how,
            )  # fmt: skip
            return {"tts_speech": speech.cpu()}

        job.start()
        while stream and self._has(tokens, offset + wanted + ahead, uuid):
            piece = chunk(offset + wanted + ahead, stream=True, finalize=False)
            offset += wanted
            self._first_out.set()
            yield piece
            hop = wanted = min(model.token_max_hop_len, hop * model.stream_scale_factor)
        self._first_out.set()
        job.join()
        if self._thread.error is None and not self._thread.stopped:
            yield chunk(None, finalize=True, **({} if stream else {"speed": speed}))
        self._thread.clear(uuid)

    def _has(self, tokens: list[int], count: int, uuid: str) -> bool:
        """Wait until there are `count` tokens; False when the sentence ends before."""
        with self._came:
            self._came.wait_for(
                lambda: len(tokens) >= count or self._model.llm_end_dict[uuid] or self._thread.stopped
            )
        return len(tokens) >= count and not self._thread.stopped

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _tokens(self, prompt: Any, sampling: int, shortest: int, longest: int, uuid: str) -> Iterator[int]:
        """Stand for `Qwen2LM.inference_wrapper`: yield a sentence's speech tokens."""
        del sampling, uuid
        decoder, stops = self.decoder, self._model.llm.stop_token_ids
        spoken: list[int] = []
        decoder.may_stop(shortest <= 0)
        decoder.begin(prompt)
        while len(spoken) < longest:
            token = draw(decoder, spoken, self._draws.generator)
            if token in stops:
                return
            yield token
            spoken.append(token)
            with self._came:
                self._came.notify_all()
            if len(spoken) == self._first_tokens:
                while not self._first_out.wait(1.0) and not self._thread.stopped:
                    pass
            if len(spoken) < longest:
                decoder.may_stop(len(spoken) >= shortest)
                decoder.step(token)


def bake(hift: Any) -> int:
    """Compute the vocoder's normalised weights once and for all; return how many there are."""
    baked = 0
    for module in hift.modules():
        if parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight")
            baked += 1
    return baked
