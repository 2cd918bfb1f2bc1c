"""`python -m bench.serving.gpu_check ADAPTER [--gpu NAME]`: does the engine's environment work on this GPU?

Run by the Python of a model's venv or image before its first sentence. The last line of its output is JSON: the
adapter imported, torch's version and CUDA line, the device and its capability, the abs() of a complex tensor on the
GPU against the CPU's (torch compiles it with NVRTC at run time, and an NVRTC that does not know the device fails
there), which libnvrtc that loaded, torchaudio's version or its absence. Exit 1 when something failed; `--gpu` names
a GPU that the host sees, and then torch must see one too.
"""

import argparse
import importlib
import json
import sys
import traceback
from pathlib import Path
from typing import Any


def check(adapter: str, expected: str | None) -> dict[str, Any]:
    """Return what was found; `error` is null when all is well."""
    found: dict[str, Any] = {"expected_gpu": expected, "error": None}
    try:
        importlib.import_module(adapter.partition(":")[0])
        import torch  # type: ignore[import-not-found,unused-ignore]  # the engine's environment has it

        found["torch"], found["cuda"] = str(torch.__version__), torch.version.cuda
        found["torchaudio"] = _torchaudio()
        if torch.cuda.is_available():
            _on_gpu(torch, found)
        elif expected is not None:
            found["error"] = (
                f"the host sees {expected} and torch {torch.__version__} does not (built for CUDA {torch.version.cuda})"
            )
    except Exception:  # noqa: BLE001 - whatever it is, it is the finding
        found["error"] = traceback.format_exc()
    found["summary"] = _summary(found)
    return found


def _torchaudio() -> str:
    try:
        return str(importlib.import_module("torchaudio").__version__)
    except Exception as error:  # noqa: BLE001 - torchaudio raises RuntimeError where its CUDA is another
        return f"absent ({type(error).__name__}: {error})"


def _on_gpu(torch: Any, found: dict[str, Any]) -> None:
    found["device"] = str(torch.cuda.get_device_name(0))
    found["capability"] = ".".join(map(str, torch.cuda.get_device_capability(0)))
    found["architectures"] = list(torch.cuda.get_arch_list())
    numbers = torch.complex(torch.linspace(-3, 3, 4096), torch.linspace(1, 2, 4096))
    on_gpu = torch.abs(numbers.to("cuda")).cpu()
    found["complex_abs"] = bool(torch.allclose(on_gpu, torch.abs(numbers), rtol=1e-5))
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").split()
    found["nvrtc"] = sorted({word for word in maps if "libnvrtc" in word})
    if not found["complex_abs"]:
        found["error"] = "the abs() of a complex tensor on the GPU is not the CPU's"


def _summary(found: dict[str, Any]) -> str:
    """Return one line for people."""
    if found["error"] is not None:
        return str(found["error"]).strip().splitlines()[-1]
    where = (
        f"on {found['device']} ({found['capability']})" if "device" in found else "no GPU: it runs on the CPU"
    )
    return f"torch {found['torch']}, torchaudio {found['torchaudio']}, {where}"


def main() -> None:
    """Print what was found; exit 1 when something failed."""
    parser = argparse.ArgumentParser(prog="bench.serving.gpu_check", description=__doc__)
    parser.add_argument("adapter")
    parser.add_argument("--gpu")
    given = parser.parse_args()
    found = check(given.adapter, given.gpu)
    print(json.dumps(found))  # noqa: T201 - what this command is for
    sys.exit(found["error"] is not None)


if __name__ == "__main__":
    main()
