"""What stands in for packages that CosyVoice names when it is imported and never uses when it speaks.

Upstream is written to be trained from the same files: `matcha/utils/__init__.py` imports lightning, hydra, rich,
gdown, wget and matplotlib (loggers, configuration, downloads, plots); `cosyvoice/dataset/processor.py`, which
cosyvoice2.yaml names, imports pyarrow and pyworld (reading and preparing training data); `cosyvoice/cli/cosyvoice.py`
imports modelscope (downloading weights, which Audition has already). Of whisper it uses one function, the log-mel
spectrogram that the speech tokenizer reads; its package would bring a compiler and 300 MB for that.

None of them is in the lock. While upstream is being imported, and only then, each module below is there under its exact
name with exactly the names that upstream imports from it. A package that is installed is used, never stood in for. What
is stood in for cannot be used by accident: calling it raises.
"""

import contextlib
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

_MODULES: dict[str, tuple[str, ...]] = {
    "gdown": (),
    "hydra": (),
    "hydra.core": (),
    "hydra.core.hydra_config": ("HydraConfig",),
    "lightning": ("Callback", "LightningDataModule", "LightningModule", "Trainer"),
    "lightning.pytorch": (),
    "lightning.pytorch.loggers": ("Logger",),
    "lightning.pytorch.utilities": ("grad_norm", "rank_zero_only"),
    "matplotlib": ("use",),
    "matplotlib.pylab": (),
    "matplotlib.pyplot": (),
    "modelscope": ("snapshot_download",),
    "pyarrow": (),
    "pyarrow.parquet": (),
    "pyworld": (),
    "rich": (),
    "rich.prompt": ("Prompt",),
    "rich.syntax": (),
    "rich.tree": (),
    "wget": (),
    "whisper": ("log_mel_spectrogram",),
    "whisper.tokenizer": ("Tokenizer",),
}
"""Each module that upstream imports, and what it imports from it."""


class NotInstalled(ImportError):
    """Something that is only stood in for was used."""


class _Absent:
    """Has a name, can be a base class or an annotation; cannot be made or called."""

    def __new__(cls, *_: Any, **__: Any) -> "_Absent":
        raise NotInstalled(
            f"{cls.__module__}.{cls.__qualname__} is not installed: CosyVoice needs it to be trained, not to speak."
        )


def _unchanged(argument: Any) -> Any:
    """Stand in for the two calls that upstream makes while it is imported: a decorator that concerns training on
    several machines, and `matplotlib.use`."""
    return argument


@contextlib.contextmanager
def standing_in(log_mel: Callable[..., Any]) -> Iterator[list[str]]:
    """Let upstream be imported where training's packages are missing; yield the packages that are stood in for.

    `log_mel` is what `whisper.log_mel_spectrogram` is.
    """
    wanted = {name.partition(".")[0] for name in _MODULES}
    missing = sorted(
        name for name in wanted if name not in sys.modules and importlib.util.find_spec(name) is None
    )
    real = {"log_mel_spectrogram": log_mel, "rank_zero_only": _unchanged, "use": _unchanged}
    made = {name: types.ModuleType(name) for name in _MODULES if name.partition(".")[0] in missing}
    for name, module in made.items():
        module.__path__ = []
        for member in _MODULES[name]:
            absent = type(member, (_Absent,), {"__module__": name})
            setattr(module, member, real.get(member, absent))
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(made[parent], last, module)
    sys.modules.update(made)
    try:
        yield missing
    finally:
        for name in made:
            sys.modules.pop(name, None)
