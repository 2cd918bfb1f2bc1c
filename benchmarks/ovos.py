"""An independent speech server from PyPI, to see our client with what others wrote: ovos-tts-server.

It is installed from hashes (tests/client/ovos.txt) into an environment of its own under `.cache`, and speaks through
a plugin written here, because the only espeak plugin on PyPI (ovos-tts-plugin-espeakng 0.0.2) cannot be constructed by
it. Its OpenAI route takes `voice` and drops it, which is what the voice check is there to catch.
"""

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.errors import AuditionError

REPO = Path(__file__).resolve().parents[1]
PINS = REPO / "tests" / "client" / "ovos.txt"
INSTALL_LIMIT_S = 300.0
START_LIMIT_S = 60.0

_SERVER = """
import socket, subprocess
import ovos_tts_server, uvicorn
from ovos_plugin_manager.templates.tts import TTS

class Espeak(TTS):
    def __init__(self, config=None, **_):
        super().__init__(config=config or {}, audio_ext="wav")

    def get_tts(self, sentence, wav_file, lang=None, voice=None):
        subprocess.run(["espeak-ng", "-v", "en-us", "-w", wav_file, sentence], check=True)
        return wav_file, None

ovos_tts_server.load_tts_plugin = lambda name: Espeak
app, _ = ovos_tts_server.start_tts_server("espeak", cache=False)
with socket.create_server(("127.0.0.1", 0)) as listener:
    print("port", listener.getsockname()[1], flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
"""


class NotHere(AuditionError):
    """The server cannot be installed or started here; the message is the reason."""


def install(cache: Path = REPO / ".cache") -> Path:
    """Return the interpreter of the server's environment, made on the first call for its pins.

    Raises:
        NotHere: the package registry is out of reach, or a package does not install.
    """
    key = hashlib.sha256(PINS.read_bytes()).hexdigest()[:12]
    venv = cache / f"ovos-{sys.version_info[0]}.{sys.version_info[1]}-{key}"
    python, done = venv / "bin" / "python", venv / ".done"
    if done.exists():
        return python
    pip = [str(python), "-m", "pip", "-q", "--disable-pip-version-check", "install", "--require-hashes", "-r"]
    try:
        for command in ([sys.executable, "-m", "venv", "--clear", str(venv)], [*pip, str(PINS)]):
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise NotHere(f"ovos-tts-server could not be installed: {said}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotHere(f"ovos-tts-server could not be installed: {error}") from error
    done.touch()
    return python


@contextlib.contextmanager
def serving(python: Path) -> Iterator[str]:
    """Run the server and yield the base URL of its OpenAI route.

    Raises:
        NotHere: it did not start.
    """
    with tempfile.TemporaryDirectory(prefix="audition-ovos-") as home:
        said, script = Path(home) / "stderr", Path(home) / "server.py"
        script.write_text(_SERVER)
        # It keeps settings and caches in the home directory, and looks for system ones beside them.
        environ = {
            **os.environ,
            "HOME": home,
            "XDG_CONFIG_HOME": home,
            "XDG_CACHE_HOME": home,
            "XDG_DATA_HOME": home,
        }
        with said.open("w") as errors:
            process = subprocess.Popen(
                [python, script],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environ,
                cwd=home,
            )
        try:
            yield f"http://127.0.0.1:{_port(process, said)}/openai"
        finally:
            process.terminate()
            process.wait(30)
            if process.stdout is not None:
                process.stdout.close()


def _port(process: "subprocess.Popen[str]", said: Path) -> int:
    assert process.stdout is not None
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end:
        line = process.stdout.readline()
        if line.startswith("port "):
            return int(line.split()[1])
        if not line:
            break
    last = (said.read_text().strip().splitlines() or ["no message"])[-1]
    raise NotHere(f"ovos-tts-server did not start: {last}")
