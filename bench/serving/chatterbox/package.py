"""The chatterbox-tts package, imported with every route to the network shut, and its watermark there for certain.

No file here imports torch before this one: torch imports tqdm, which reads its variable then.
"""

import os

for _name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "TQDM_DISABLE"):
    os.environ[_name] = "1"  # the last: a progress bar for every request
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import perth  # noqa: E402 - after the variables
import torch  # noqa: E402
import transformers  # noqa: E402
from chatterbox import tts  # noqa: E402

__all__ = ["perth", "torch", "transformers", "tts"]

if perth.PerthImplicitWatermarker is None:
    raise ImportError(
        "perth left its watermarker out, as it does without a word where pkg_resources is missing (setuptools 82 and "
        "later); install the engine's lock."
    )
