"""The environment in which the tests run the real f5-tts package on a CPU: `.cache/f5-venv` (venvs.py).

`python -m tests.support.make_f5_venv` prints the interpreter's path.
"""

from pathlib import Path

from tests.support import venvs

CACHE = venvs.CACHE
LOCK = Path(__file__).with_name("f5_venv.txt")
VENV = venvs.Venv("f5", LOCK, (Path(__file__),), finish="import f5_tts.infer.utils_infer\n")
recipe, python = VENV.recipe, VENV.python

if __name__ == "__main__":
    venvs.say(VENV)
