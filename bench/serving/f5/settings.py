"""The settings a profile of F5-TTS may have; the defaults are the package's own (utils_infer.py:56-65)."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import BadInput


class F5Settings(BaseModel):
    """A profile of F5-TTS. An unknown key is an error, so a typing slip never passes for a setting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nfe_step: int = Field(default=32, ge=1, le=128)
    """Steps of the Euler solver, each one guided evaluation of the network."""
    cfg_strength: float = Field(default=2.0, ge=0.0)
    sway_sampling_coef: float = -1.0
    cross_fade_s: float = Field(default=0.15, ge=0.0, le=1.0)
    """Overlap of consecutive text chunks in seconds."""
    chunker: Literal["package", "first_clause"] = "package"
    """`package` splits as `infer_process` does; `first_clause` also cuts a short first clause off."""
    dtype: Literal["float16", "float32"] | None = None
    """Null leaves the package's choice: float16 on CUDA from compute capability 7.0, else float32."""
    solver: Literal["package", "graphed"] = "package"
    """Who integrates the flow: `CFM.sample` of the package on torchdiffeq, or graphed.py's CUDA graphs."""
    arch: dict[str, Any] | None = None
    """Arguments of the package's `DiT` for a checkpoint of another size; null is F5TTS_v1_Base.yaml's."""

    @classmethod
    def parse(cls, profile: Mapping[str, Any]) -> "F5Settings":
        """Return `profile` checked.

        Raises:
            BadInput: an unknown key or a value out of range, by name.
        """
        try:
            return cls.model_validate(dict(profile))
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise BadInput(f"the F5-TTS profile is wrong: {faults}; see bench/catalog/f5.yml.") from error
