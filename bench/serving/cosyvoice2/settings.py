"""The settings a profile of CosyVoice 2 may have; the defaults are upstream's ways, faults included."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from bench.errors import BadInput

Dtype = Literal["float32", "bfloat16", "float16"]


class CosyVoiceSettings(BaseModel):
    """A profile of CosyVoice 2. An unknown key is an error, so a typing slip never passes for a setting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hop: Literal["leaks", "reset"] = "leaks"
    """`leaks`: the length of a chunk grows from 25 to 100 tokens and stays there for the requests that follow
    (cosyvoice/cli/model.py:360). `reset`: each request begins with 25, as the first one of a process does."""
    attention_mask: Literal["length_one", "none"] = "length_one"
    """What the language model is told of the tokens before: a mask of length one, which transformers from 4.53 on takes
    for a cache of length one, or none, which every version understands (docs/RESEARCH-COSYVOICE2.md)."""
    reference: Literal["as_given", "whole_seconds"] = "as_given"
    """`whole_seconds` fills a clip up with silence: of any other length upstream waits for more tokens before it
    begins to speak."""
    generators: Literal["shared", "per_stage"] = "shared"
    """`shared`: the language model and the vocoder draw from one generator in two threads, so a seed repeats nothing.
    `per_stage`: the language model draws from its own."""
    solver: Literal["package", "graphed"] = "package"
    """Who runs the language model's step and the flow's solve: upstream, or graphed.py's CUDA graphs."""
    llm_dtype: Dtype = "float32"
    flow_dtype: Dtype = "float32"
    """Of the graphed parts alone."""

    @model_validator(mode="after")
    def _graphed_is_mended(self) -> "CosyVoiceSettings":
        mended = (self.hop, self.attention_mask, self.generators) == ("reset", "none", "per_stage")
        if self.solver == "graphed" and not mended:
            raise ValueError(
                "solver: graphed wants hop: reset, attention_mask: none and generators: per_stage"
            )
        if self.solver == "package" and (self.llm_dtype, self.flow_dtype) != ("float32", "float32"):
            raise ValueError("llm_dtype and flow_dtype are settings of solver: graphed")
        return self

    @classmethod
    def parse(cls, profile: Mapping[str, Any]) -> "CosyVoiceSettings":
        """Return `profile` checked.

        Raises:
            BadInput: an unknown key or value, by name.
        """
        try:
            return cls.model_validate(dict(profile))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise BadInput(
                f"the CosyVoice 2 profile is wrong: {faults}; see bench/catalog/cosyvoice2.yml."
            ) from error
