"""Qwen3-TTS's two models, a frame at a time on caches of fixed length: on a GPU each frame is one CUDA graph.

A frame is sixteen codes. The talker gives the first; the code predictor, given the talker's last state, the other
fifteen one after another; all sixteen and the next token of the text are what the talker reads next. Upstream runs
transformers' `generate()` for the talker and, for each frame, once more for the predictor, on caches that grow. Here
both models' own `forward` run on static caches and a frame, its sixteen draws included, is one graph, which leaves the
next frame's first code where it reads it. The draws take from a generator what upstream's take from torch's, so a seed
gives the same codes but for rounding.

On a CPU the same arithmetic runs uncaptured.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from transformers import StaticCache

from bench.serving.adapter import SynthesisError
from bench.serving.qwen3tts.package import torch
from bench.serving.qwen3tts.settings import Qwen3TTSSettings

PLACES = 1280
"""Of the talker's cache: 30 s of reference are 375, and what is left speaks for more than a minute."""
MARKS = 1024
"""The last codes of the talker's vocabulary: none is speech, and but for the end none may be drawn."""
LEAST = 2
"""Codes before the end may be drawn (modeling_qwen3_tts.py:2049)."""
_F = torch.nn.functional


@dataclass(frozen=True, slots=True)
class Prompt:
    """What upstream gives its talker first."""

    embeds: Any
    """(1, n, width): the speaker, the reference's words and codes, the text as far as it is read beside these."""
    text: Any
    """(1, m, width): the rest of the text, a place for each frame."""
    pad: Any
    """(1, 1, width): what follows the text."""


class Decoder:
    """Stands for the loop of `talker.generate()`."""

    def __init__(self, talker: Any, settings: Qwen3TTSSettings, places: int = PLACES) -> None:
        """Take over a loaded `Qwen3TTSTalkerForConditionalGeneration`; its weights stay where they are."""
        self._talker, self._predictor = talker, talker.code_predictor
        self._settings, self._places = settings, places
        self._books = talker.config.num_code_groups
        self._end: int = talker.config.codec_eos_token_id
        head = talker.codec_head.weight
        device, dtype = head.device, head.dtype
        self._cache = StaticCache(config=talker.config, max_cache_len=places)
        self._inner_cache = StaticCache(config=self._predictor.config, max_cache_len=self._books + 1)
        self._mask = _causal(places, device, dtype)
        self._inner_mask = _causal(self._books + 1, device, dtype)
        self._number = torch.zeros(1, device=device, dtype=torch.long)
        """Of the frame whose first code was drawn last."""
        self._place = torch.zeros(1, device=device, dtype=torch.long)
        self._token = torch.zeros(1, 1, device=device, dtype=torch.long)
        """That frame's first code, or the end."""
        self._codes = torch.zeros(1, self._books, device=device, dtype=torch.long)
        self._state = torch.zeros(1, 1, head.shape[1], device=device, dtype=dtype)
        self._text = torch.zeros(1, places, head.shape[1], device=device, dtype=dtype)
        self._seen = torch.zeros(1, head.shape[0], device=device, dtype=torch.bool)
        self._never = torch.arange(head.shape[0], device=device)[None] >= head.shape[0] - MARKS
        self._never[0, self._end] = False
        self.generator = torch.Generator(device)
        """Of the draws alone."""
        self._read = 0
        self._graph: Any = None

    @property
    def graphs(self) -> int:
        """1 once a frame is captured; 0 without CUDA."""
        return int(self._graph is not None)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def capture(self) -> None:
        """Record a frame as a graph; nothing without CUDA."""
        if not self._token.is_cuda:
            return
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self._place.fill_(1)
                self._frame()
        torch.cuda.current_stream().wait_stream(aside)
        torch.cuda.synchronize()
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(self.generator)
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._frame()

    def frames(self, prompt: Prompt, most: int) -> Iterator[Any]:
        """Yield an utterance's frames, (1, 16) codes each: upstream's own, of which one less than `most` at most.

        Raises:
            SynthesisError: the prompt leaves no room for speech, or the cache is full.
        """
        self._begin(prompt)
        for _ in range(most - 1):
            if int(self._token) == self._end:
                return
            self._step()
            yield self._codes.clone()

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _begin(self, prompt: Prompt) -> None:
        """Read the prompt and draw the first frame's first code."""
        n, rest = prompt.embeds.shape[1], prompt.text.shape[1]
        if max(n, rest) >= self._places:
            raise SynthesisError(
                f"reference and text are {max(n, rest)} places and there are {self._places}; shorten them"
            )
        self._text.copy_(prompt.pad.expand_as(self._text))
        self._text[:, :rest] = prompt.text
        self._number.zero_()
        self._seen.zero_()
        self._read = n
        self._hear(prompt.embeds, torch.arange(n, device=self._token.device))
        self._place.fill_(n)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _step(self) -> None:
        """Speak the frame whose first code was drawn, and draw the next one's."""
        if self._read == self._places:
            raise SynthesisError(f"the utterance does not end within {self._places} places; make it shorter")
        self._read += 1
        if self._graph is None:
            self._frame()
        else:
            self._graph.replay()

    def _frame(self) -> None:
        predictor, settings = self._predictor, self._settings
        first = self._talker.get_input_embeddings()(self._token)
        codes, embedded = [self._token], [first]
        x = torch.cat((self._state, first), dim=1)
        places = torch.arange(self._books + 1, device=x.device)
        for number, head in enumerate(predictor.lm_head):
            at = places[:2] if number == 0 else places[number + 1 : number + 2]
            heard = predictor.model(
                inputs_embeds=predictor.small_to_mtp_projection(x),
                attention_mask=self._inner_mask[at][None, None],
                past_key_values=self._inner_cache,
                cache_position=at,
                position_ids=at[None],
                use_cache=True,
            ).last_hidden_state
            code = self._draw(head(heard[:, -1]), settings.subtalker_temperature, settings.subtalker_top_k)
            x = predictor.get_input_embeddings()[number](code)
            codes.append(code)
            embedded.append(x)
        self._codes.copy_(torch.cat(codes, dim=1))
        text = self._text.index_select(1, self._number)
        self._number += 1
        self._hear(torch.cat(embedded, dim=1).sum(1, keepdim=True) + text, self._place)
        self._place += 1

    def _hear(self, x: Any, places: Any) -> None:
        """Read (1, n, width) at n places, and draw a frame's first code as `talker.generate()` does."""
        heard = self._talker.model(
            inputs_embeds=x,
            attention_mask=self._mask[places][None, None],
            past_key_values=self._cache,
            cache_position=places,
            position_ids=places.expand(3, 1, -1),
            use_cache=True,
        ).last_hidden_state[:, -1:]
        self._state.copy_(heard)
        logits = self._talker.codec_head(heard[:, -1]).float()
        penalty = self._settings.repetition_penalty
        penalised = torch.where(logits < 0, logits * penalty, logits / penalty)
        logits = torch.where(self._seen, penalised, logits)
        logits[:, self._end].masked_fill_(self._number < LEAST, float("-inf"))
        logits = logits.masked_fill(self._never, float("-inf"))
        self._token.copy_(self._draw(logits, self._settings.temperature, self._settings.top_k))
        self._seen.scatter_(1, self._token, True)

    def _draw(self, logits: Any, temperature: float, top_k: int) -> Any:
        """Draw one code of (1, n) logits as transformers' sampling does, (1, 1)."""
        logits = logits.float() / temperature
        least = logits.topk(min(top_k, logits.shape[-1]))[0][:, -1:]
        probabilities = logits.masked_fill(logits < least, float("-inf")).softmax(dim=-1)
        # What torch.multinomial does for one draw, without its look at the values, which reads the GPU.
        chance = torch.empty_like(probabilities).exponential_(1, generator=self.generator)
        return (probabilities / chance).argmax(dim=-1, keepdim=True)


def _causal(places: int, device: Any, dtype: Any) -> Any:
    """Return what is added to the attention of each place, (places, places): nothing to itself and those before."""
    later = torch.ones(places, places, device=device, dtype=torch.bool).triu(1)
    return torch.zeros(places, places, device=device, dtype=dtype).masked_fill(later, torch.finfo(dtype).min)
