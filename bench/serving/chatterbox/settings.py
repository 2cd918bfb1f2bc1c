"""The settings a profile of Chatterbox may have; the defaults are the package's own."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.errors import BadInput

Dtype = Literal["float32", "bfloat16", "float16"]


class ChatterboxSettings(BaseModel):
    """A profile of Chatterbox. An unknown key is an error, so a typing slip never passes for a setting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exaggeration: float = Field(default=0.5, ge=0, le=2)
    cfg_weight: float = Field(default=0.5, gt=0, le=2)
    """Guidance of the text model. 0 is not offered: the package then reads its start token twice for a batch of one
    (t3.py:324)."""
    temperature: float = Field(default=0.8, gt=0)
    repetition_penalty: float = Field(default=1.2, ge=1)
    min_p: float = Field(default=0.05, gt=0, lt=1)
    """`generate()`'s own, by its names. `top_p` is 1 there, which lets everything through, and is left so."""
    solver: Literal["package", "graphed"] = "package"
    """Who runs the text model's step and the flow's solve: the package, or graphed.py's CUDA graphs."""
    chunks: Literal["whole", "stream"] = "whole"
    """`stream` speaks the first second when its tokens exist. The package cannot, and its flow hears all of an
    utterance at once, so streamed speech is not sample by sample what the package makes of the same tokens."""
    t3_dtype: Dtype = "float32"
    flow_dtype: Dtype = "float32"
    watermark_on: Literal["cpu", "model"] = "cpu"
    """Where the watermark is computed: on the CPU as the package does, or where the model is."""

    @model_validator(mode="after")
    def _of_the_graphed_parts(self) -> "ChatterboxSettings":
        own = (self.chunks, self.t3_dtype, self.flow_dtype)
        if self.solver == "package" and own != ("whole", "float32", "float32"):
            raise ValueError("chunks: stream, t3_dtype and flow_dtype are settings of solver: graphed")
        return self

    @classmethod
    def parse(cls, profile: Mapping[str, Any]) -> "ChatterboxSettings":
        """Return `profile` checked.

        Raises:
            BadInput: an unknown key or value, by name.
        """
        try:
            return cls.model_validate(dict(profile))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise BadInput(
                f"the Chatterbox profile is wrong: {faults}; see bench/catalog/chatterbox.yml."
            ) from error
