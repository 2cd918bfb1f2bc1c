"""Lets f5-tts be imported where what only its training needs is not installed.

`import f5_tts.model` brings the trainer in, and with it wandb, datasets and more; speaking uses none of them.
A GPU box that is lent without a network may lack them, so there the trainer is left out, and librosa, of which
Vocos' mel uses nothing, too. Where all of it is installed nothing is replaced. An engine never does this: it
installs the whole lock.
"""

import importlib
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

_FOR_TRAINING = ("accelerate", "datasets", "ema_pytorch", "wandb")


def leave_out_what_is_missing() -> list[str]:
    """Put empty modules where imports would fail; return what is missing. Call it before f5_tts is imported."""
    missing = [name for name in _FOR_TRAINING if importlib.util.find_spec(name) is None]
    if missing:
        _put("f5_tts.model.trainer", Trainer=None)
    try:
        importlib.import_module("librosa.filters")
    except ImportError:
        missing.append("librosa")
        _put("librosa")
        _put("librosa.filters", mel=None)
    return missing


def leave_out_numba() -> None:
    """Let librosa be imported without numba, 60 MB that its mel filters use nothing of."""
    if importlib.util.find_spec("numba") is None:
        names = ("guvectorize", "jit", "njit", "stencil", "vectorize")
        _put("numba", uint32=int, **dict.fromkeys(names, _undecorated))


def _undecorated(*arguments: object, **_: object) -> object:
    return arguments[0] if len(arguments) == 1 and callable(arguments[0]) else lambda function: function


def _put(name: str, **members: object) -> None:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(members)
    sys.modules[name] = module
