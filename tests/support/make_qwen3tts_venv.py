"""The environment in which the tests run Qwen3-TTS's real package on a CPU: `.cache/qwen3tts-venv` (venvs.py).

`python -m tests.support.make_qwen3tts_venv` prints the interpreter's path. All of it but torch is the engine's own
lock's.
"""

from pathlib import Path

from tests.support import venvs

VENV = venvs.Venv(
    "qwen3tts",
    Path(__file__).with_name("qwen3tts_venv.txt"),
    (Path(__file__),),
    finish="import transformers, librosa; assert transformers.__version__ == '4.57.3'",
)
python = VENV.python

if __name__ == "__main__":
    venvs.say(VENV)
