"""The environment in which the tests run upstream's real CosyVoice on a CPU: `.cache/cosyvoice2-venv` (venvs.py).

`python -m tests.support.make_cosyvoice2_venv` prints the interpreter's path. The code comes from the wheel
cosyvoice2-fr-infer 0.1.5, which bundles CosyVoice of May 2025 and Matcha-TTS; cosyvoice2_wheel.py says what differs
from the commit that an engine runs, and brings it there.

Where the variable AUDITION_COSYVOICE_MIRROR names a folder with the two repositories (`FunAudioLLM/CosyVoice.git`,
`shivammehta25/Matcha-TTS.git`), the environment is another one, `.cache/cosyvoice2-exact-venv`: the code is fetched and
compared as an installation does it, with nothing in between.
"""

import os
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np

from tests.support import venvs

HERE = Path(__file__).parent
LOCK = HERE / "cosyvoice2_venv.txt"
WHEEL = HERE / "cosyvoice2_wheel.py"
_NORMALIZER = """
import wetext


def Normalizer(remove_erhua=False, **_):
    return wetext.Normalizer(remove_erhua=remove_erhua)
"""
"""Under WeTextProcessing's name, as the wheel imports it: the same grammars."""
MIRROR = os.environ.get("AUDITION_COSYVOICE_MIRROR", "")


def _site(venv: Path) -> Path:
    return next((venv / "lib").glob("python3.*")) / "site-packages"


def _as_the_commit(venv: Path) -> None:
    """Let the wheel's code be used as the commit's: `AutoModel`, clips by their paths, and an example clip."""
    site = _site(venv)
    shutil.copyfile(WHEEL, site / "cosyvoice2_wheel.py")
    with (site / "cosyvoice" / "cli" / "cosyvoice.py").open("a") as stream:
        stream.write("\n\nfrom cosyvoice2_wheel import AutoModel\n")
    for language in ("chinese", "english"):
        (site / "tn" / language).mkdir(parents=True)
        (site / "tn" / language / "normalizer.py").write_text(_NORMALIZER)
    clip = site / "cosyvoice" / "asset" / "zero_shot_prompt.wav"
    clip.parent.mkdir()
    _write_clip(clip)


def _write_clip(path: Path) -> None:
    """Write 3.48 s of buzzing, as long as upstream's clip of a person is."""
    rate = 16000
    t = np.arange(round(3.48 * rate)) / rate
    buzz = sum(np.sin(2 * np.pi * 110 * k * t) / k for k in range(1, 16))
    buzz = buzz * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t)) * 0.12
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, rate, 0, "NONE", ""))
        out.writeframes((buzz * 32767).astype("<i2").tobytes())


def _from_the_mirror(venv: Path) -> None:
    """Put the commits that the catalog pins into the environment, as an installation does."""
    site = _site(venv)
    python = str(venv / "bin" / "python")
    subprocess.run(
        [python, "-m", "pip", "uninstall", "-q", "-y", "--disable-pip-version-check", "cosyvoice2-fr-infer"],
        check=True,
    )
    from bench.catalog.loader import load
    from bench.install import sources

    run = load("cosyvoice2").run
    assert run.kind == "engine"
    sources.assemble(run.sources, site, mirror=MIRROR)


VENV = (
    venvs.Venv("cosyvoice2-exact", LOCK, (Path(__file__),), after=_from_the_mirror)
    if MIRROR
    else venvs.Venv("cosyvoice2", LOCK, (Path(__file__), WHEEL), after=_as_the_commit)
)
python = VENV.python

if __name__ == "__main__":
    venvs.say(VENV)
