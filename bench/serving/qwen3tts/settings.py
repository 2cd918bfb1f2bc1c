"""The settings a profile of Qwen3-TTS may have; the defaults are the package's own, and its README's dtype."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.errors import BadInput


class Qwen3TTSSettings(BaseModel):
    """A profile of Qwen3-TTS. An unknown key is an error, so a typing slip never passes for a setting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of everything, the codec too, as the package loads it."""
    language: str = "English"
    x_vector_only: bool = False
    """Clone by the speaker's embedding alone: the reference's words and codes are then unused."""
    temperature: float = Field(default=0.9, gt=0)
    top_k: int = Field(default=50, ge=1)
    repetition_penalty: float = Field(default=1.05, ge=1)
    subtalker_temperature: float = Field(default=0.9, gt=0)
    subtalker_top_k: int = Field(default=50, ge=1)
    """The package's own names. `top_p` of either is 1 there, which lets everything through, and is left so."""
    solver: Literal["package", "graphed"] = "package"
    """Who runs the loop of codes: the package, or decoding.py's CUDA graph."""
    chunks: Literal["whole", "stream"] = "whole"
    """`stream` speaks the first half second when its codes exist. The package cannot."""

    @model_validator(mode="after")
    def _of_the_graphed_parts(self) -> "Qwen3TTSSettings":
        if self.solver == "package" and self.chunks != "whole":
            raise ValueError("chunks: stream is a setting of solver: graphed")
        return self

    @classmethod
    def parse(cls, profile: Mapping[str, Any]) -> "Qwen3TTSSettings":
        """Return `profile` checked.

        Raises:
            BadInput: an unknown key or value, by name.
        """
        try:
            return cls.model_validate(dict(profile))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise BadInput(
                f"the Qwen3-TTS profile is wrong: {faults}; see bench/catalog/qwen3_tts_06b.yml."
            ) from error
