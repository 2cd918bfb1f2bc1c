"""The f5-tts package, imported with every route to the network shut.

Left to itself the package fetches Vocos, the checkpoint and (for a reference without a transcript) Whisper,
unpinned. The libraries under it read these variables when they are imported, so they are set here first.
"""

import os

for _name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ[_name] = "1"
os.environ["WANDB_MODE"] = "disabled"
os.environ["WANDB_ERROR_REPORTING"] = "false"

import torch  # noqa: E402 - after the variables
import torchaudio  # noqa: E402
from f5_tts.infer import utils_infer  # noqa: E402
from f5_tts.model import DiT  # noqa: E402
from f5_tts.model.utils import seed_everything  # noqa: E402

__all__ = ["DiT", "seed_everything", "torch", "torchaudio", "utils_infer"]
