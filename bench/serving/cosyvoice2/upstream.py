"""Upstream's model in hand: its language model's thread can be stopped and joined, and what a profile mends is mended.

`CosyVoice2Model.tts` starts a thread that fills a list of tokens, and reads that list until a flag is set. A consumer
who leaves in the middle leaves the thread running and its lists behind, and a thread that dies sets no flag, so `tts`
waits for ever. Both are seen to here, for every profile; neither changes what a request that goes well does.
"""

import threading
from collections.abc import Iterator
from typing import Any

from torch.overrides import TorchFunctionMode

from bench.serving.cosyvoice2.package import torch
from bench.serving.cosyvoice2.settings import CosyVoiceSettings

HOP = 25
"""Tokens of the first chunk, one second: `CosyVoice2Model.__init__`."""


class LlmThread:
    """Upstream's thread of one request, or of each of its sentences in turn."""

    def __init__(self, model: Any) -> None:
        """Follow what `model` starts from now on."""
        self._model = model
        self._job, self._speak = model.llm_job, model.llm.inference
        self._stopped = threading.Event()
        self._running: dict[str, threading.Thread] = {}
        self.ended = threading.Condition()
        self.error: BaseException | None = None
        self.tokens: list[int] = []
        """What the latest request was spoken from, sentence after sentence."""
        model.llm_job = self._followed
        model.llm.inference = self._stoppable

    def begin(self) -> None:
        """Forget the request before."""
        self._stopped.clear()
        self.error, self.tokens = None, []

    def end(self) -> None:
        """Stop the thread, wait for it, and clear what upstream keeps of a request."""
        self._stopped.set()
        with self.ended:
            self.ended.notify_all()
        for uuid, thread in list(self._running.items()):
            thread.join()
            self.clear(uuid)
        self._running.clear()

    def clear(self, uuid: str) -> None:
        """Clear what upstream keeps of one sentence."""
        with self._model.lock:
            for kept in ("tts_speech_token_dict", "llm_end_dict", "hift_cache_dict"):
                getattr(self._model, kept).pop(uuid, None)

    @property
    def stopped(self) -> bool:
        """Whether the request is to end at once."""
        return self._stopped.is_set()

    def _followed(self, *arguments: Any) -> None:
        uuid = str(arguments[-1])
        self._running[uuid] = threading.current_thread()
        try:
            self._job(*arguments)
        except BaseException as error:  # noqa: BLE001 - in a thread nobody would see it; the request raises it
            self.error = error
        finally:
            self._model.llm_end_dict[uuid] = True
            with self.ended:
                self.ended.notify_all()

    def _stoppable(self, *arguments: Any, **named: Any) -> Iterator[int]:
        for token in self._speak(*arguments, **named):
            if self._stopped.is_set():
                return
            self.tokens.append(int(token))
            yield token


class OwnDraws:
    """Upstream's own sampler, drawing from a generator of the language model's own, on the CPU.

    Upstream draws in two threads from one generator: the tokens in one, the vocoder's noise in the other.
    """

    def __init__(self, sampling: Any) -> None:
        """Wrap `Qwen2LM.sampling`."""
        self._sampling = sampling
        self.generator = torch.Generator()

    def __call__(self, scores: Any, spoken: list[int], count: int) -> int:
        """Return the next token; `scores` are logarithms of probabilities, (tokens,)."""
        with _Drawing(self.generator):
            return int(self._sampling(scores.cpu(), spoken, count))


class _Drawing(TorchFunctionMode):  # type: ignore[misc]
    """Gives each draw made inside it the generator."""

    def __init__(self, generator: Any) -> None:
        super().__init__()
        self._generator = generator

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = dict(kwargs or {})
        if func is torch.Tensor.multinomial:
            named["generator"] = self._generator
        return func(*args, **named)


def step_without_mask(encoder: Any, xs: Any, masks: Any, cache: Any = None) -> tuple[Any, Any]:
    """Stand for `Qwen2Encoder.forward_one_step`, without the mask of length one that it gives to a growing cache.

    Without a mask, transformers looks at the cache's own length: right in every version.
    """
    del masks
    outs = encoder.model(
        inputs_embeds=xs, output_hidden_states=True, return_dict=True, use_cache=True, past_key_values=cache
    )
    return outs.hidden_states[-1], outs.past_key_values


def mend(model: Any, settings: CosyVoiceSettings) -> OwnDraws | None:
    """Mend what `settings` says of a loaded model; return the language model's draws where they are its own."""
    if settings.hop == "reset":
        speak = model.tts

        def tts(*arguments: Any, **named: Any) -> Any:
            model.token_hop_len = HOP
            return speak(*arguments, **named)

        model.tts = tts
    if settings.attention_mask == "none":
        encoder = model.llm.llm
        encoder.forward_one_step = lambda xs, masks, cache=None: step_without_mask(encoder, xs, masks, cache)
    if settings.generators == "shared":
        return None
    draws = OwnDraws(model.llm.sampling)
    model.llm.sampling = draws
    return draws
