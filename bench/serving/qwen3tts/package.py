"""The qwen-tts package, imported with every route to the network shut.

`qwen_tts` imports its tokenizer for 25 Hz too, which no published model uses, and that one's `import sox`, a package
without a wheel that runs a program when it is imported. The lock leaves it out; its name is there while the package is
imported, and empty.
"""

import os

for _name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ[_name] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import importlib.util  # noqa: E402 - after the variables
import sys  # noqa: E402
import types  # noqa: E402

import torch  # noqa: E402
import transformers  # noqa: E402

_absent = "sox" not in sys.modules and importlib.util.find_spec("sox") is None
if _absent:
    sys.modules["sox"] = types.ModuleType("sox")
try:
    import qwen_tts
finally:
    if _absent:
        del sys.modules["sox"]

__all__ = ["qwen_tts", "torch", "transformers"]
