"""Locks of F5-TTS and CosyVoice 2 for a CPU that install whole, hashes and `pip check` included, and their wheels.

The engine's own lock (requirements/engine-f5.txt) brings 5 GB of CUDA. Here torch is whatever build this machine's
pip finds, and two wheels are written again: torchaudio without its compiled extension, which wants CUDA's
libraries, and f5-tts without the requirements it never imports when it speaks. Their versions are marked
`+cpu`: of two equal versions pip would take the index's. Everything else is `f5_venv.txt`.

`make()` keeps lock and wheels in `.cache/f5-cpu`; pip finds the wheels through PIP_FIND_LINKS. `make_cosyvoice2()`
puts the other's lock beside it, with the same torch: what `cosyvoice2_venv.txt` pins but for the wheel that upstream's
code comes from here; an installation has that code from git.
"""

import hashlib
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

from tests.support import make_cosyvoice2_venv, make_f5_venv
from tests.support.docker import locked

HOME = make_f5_venv.CACHE / "f5-cpu"
LOCK = HOME / "f5-cpu.txt"
COSYVOICE2_LOCK = HOME / "cosyvoice2-cpu.txt"
MARK = "+cpu"
_MINE = ("torchaudio", "f5-tts")
_UNUSED = (
    "bitsandbytes",
    "cached_path",
    "gradio",
    "tomli",
    "torchcodec",
    "transformers_stream_generator",
    "unidecode",
)
"""What f5-tts declares and nothing here imports (f5_venv.in)."""


def make() -> Path:
    """Return the lock; its wheels are beside it. Made once for a recipe of the environment."""
    stamp = HOME / "recipe"
    wanted = make_f5_venv.recipe() + hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    python = make_f5_venv.python()
    with locked(HOME.with_suffix(".lock")):
        if not stamp.is_file() or stamp.read_text() != wanted:
            shutil.rmtree(HOME, ignore_errors=True)
            HOME.mkdir(parents=True)
            _write(python)
            stamp.write_text(wanted)
    return LOCK


def make_cosyvoice2() -> Path:
    """Return CosyVoice 2's lock."""
    shared = re.findall(r"^(?!f5.tts)\S+==\S+ --hash=\S+\n", make().read_text(), flags=re.MULTILINE)
    others = _without(make_cosyvoice2_venv.LOCK.read_text(), "torchaudio", "cosyvoice2-fr-infer")
    with locked(HOME.with_suffix(".lock")):
        COSYVOICE2_LOCK.write_text(others + "".join(shared))
    return COSYVOICE2_LOCK


def _without(lock: str, *names: str) -> str:
    """Return a lock without the pins of some packages."""
    return re.sub(rf"^({'|'.join(names)})==.*?(?=^[\w]|\Z)", "", lock, flags=re.MULTILINE | re.DOTALL)


def _write(python: Path) -> None:
    frozen = _pip(python, "list", "--format=freeze").splitlines()
    builds = [p.partition("+")[0] for p in frozen if re.match(r"(torch|(nvidia|cuda)-[\w-]+)==", p)]
    _pip(python, "download", "--no-deps", "-d", str(HOME), *builds)
    versions = dict(pin.split("==") for pin in frozen)
    for name in _MINE:
        _pip(python, "download", "--no-deps", "-d", str(HOME / "whole"), f"{name}=={versions[name]}")
    for wheel in sorted((HOME / "whole").glob("*.whl")):
        _rewrite(wheel)
    shutil.rmtree(HOME / "whole")
    others = _without(make_f5_venv.LOCK.read_text(), *_MINE)
    pins = []
    for wheel in sorted(HOME.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        pins.append(f"{name}=={version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    LOCK.write_text(others + "".join(pins))


def _rewrite(wheel: Path) -> None:
    """Write a wheel again without what a CPU cannot use; the same bytes each time."""
    name, version, rest = wheel.name.split("-", 2)
    old_info, new_info = f"{name}-{version}.dist-info/", f"{name}-{version}{MARK}.dist-info/"
    unused = rf"^Requires-Dist: (?:{'|'.join(_UNUSED).replace('_', '[-_]')})\b.*\n"
    out = HOME / f"{name}-{version}{MARK}-{rest}"
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            data = old.read(member)
            if re.fullmatch(r"torchaudio/lib/.*\.so", member):
                continue
            if member == old_info + "METADATA":
                text = data.decode().replace(f"Version: {version}", f"Version: {version}{MARK}", 1)
                data = re.sub(unused, "", text, flags=re.MULTILINE).encode()
            if member == old_info + "RECORD":
                kept = [line for line in data.decode().splitlines() if not line.startswith("torchaudio/lib/")]
                unhashed = [re.sub(r",sha256=[^,]*,\d*$", ",,", line) for line in kept]
                data = "\n".join([*unhashed, ""]).replace(old_info, new_info).encode()
            new.writestr(zipfile.ZipInfo(member.replace(old_info, new_info)), data)  # of 1980: the same bytes


def _pip(python: Path, *arguments: str) -> str:
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    print(make())
