"""The environment in which the tests run Chatterbox's real package on a CPU: `.cache/chatterbox-venv` (venvs.py).

`python -m tests.support.make_chatterbox_venv` prints the interpreter's path. All of it but torch is the engine's own
lock's; the watermark's real weights are in a wheel of it.
"""

from pathlib import Path

from tests.support import venvs

VENV = venvs.Venv(
    "chatterbox",
    Path(__file__).with_name("chatterbox_venv.txt"),
    (Path(__file__),),
    finish="import chatterbox, perth; assert perth.PerthImplicitWatermarker",
)
python = VENV.python

if __name__ == "__main__":
    venvs.say(VENV)
