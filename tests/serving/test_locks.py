"""The locks of the engines: whole, hashed, of one CUDA line, for both architectures."""

import re
from pathlib import Path

import pytest

from bench.catalog.loader import load

REQUIREMENTS = Path(__file__).parents[2] / "requirements"


@pytest.fixture(scope="module", params=["f5", "cosyvoice2", "hibari", "chatterbox", "qwen3tts"])
def lines(request: pytest.FixtureRequest) -> list[str]:
    """Requirements with their markers and hashes, one string each."""
    lock = REQUIREMENTS / f"engine-{request.param}.txt"
    return lock.read_text().replace("\\\n", " ").splitlines()


@pytest.fixture(scope="module")
def pins(lines: list[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in lines:
        name, version = re.match(r"([\w.-]+)==(\S+)", line).groups()  # type: ignore[union-attr]
        found.setdefault(name, set()).add(version)
    return found


def test_pins_what_the_catalog_says(pins: dict[str, set[str]]) -> None:
    ours = {
        "f5-tts": "f5",
        "hibari-tts": "hibari",
        "chatterbox-tts": "chatterbox",
        "qwen-tts": "qwen3_tts_06b",
    }
    for package in ours.keys() & pins.keys():
        assert pins[package] == {load(ours[package]).version.pin}
    if "chatterbox-tts" in pins:
        assert pins["setuptools"] == {"81.0.0"}, (
            "a later one has no pkg_resources, and perth then no watermark"
        )
        # What the wheel pins and the lock can keep.
        assert pins["transformers"] == {"5.2.0"} and pins["safetensors"] == {"0.5.3"}
        run = load("chatterbox").run
        assert run.kind == "engine" and run.unmet is not None
        unmet = {name for package in run.unmet.values() for name in package if "==" not in name}
        assert not unmet & pins.keys(), "it is there, and declared missing"
    if "qwen-tts" in pins:
        assert load("qwen3_tts_17b").version.pin == load("qwen3_tts_06b").version.pin
        # What the wheel pins.
        assert pins["transformers"] == {"4.57.3"} and pins["accelerate"] == {"1.12.0"}
        assert not {"sox", "gradio"} & pins.keys(), "it is there, and declared missing"
    if not ours.keys() & pins.keys():
        # A later one misreads the mask that upstream's own code gives (profile `upstream`).
        assert pins["transformers"] == {"4.51.3"}
        assert pins["wetext"] == {"0.1.8"}, "0.0.4 downloads its grammars when it starts"
        assert not {"modelscope", "openai-whisper", "lightning", "deepspeed", "onnxruntime-gpu"} & pins.keys()


def test_every_requirement_has_hashes(lines: list[str]) -> None:
    assert [line for line in lines if "--hash=sha256:" not in line] == []


def test_names_no_index(lines: list[str]) -> None:
    assert not [line for line in lines if "://" in line or "index-url" in line]


def test_one_cuda_line(pins: dict[str, set[str]]) -> None:
    if "torch" not in pins:
        assert not [name for name in pins if name.startswith("nvidia")]
        return
    assert pins["torch"] == pins["torchaudio"] == {"2.11.0"}
    assert pins["nvidia-cuda-runtime"] == {"13.0.96"}
    assert pins["nvidia-cuda-nvrtc"] == {"13.0.88"}, "the mel's complex abs() is compiled by NVRTC"
    assert not [name for name in pins if re.search(r"-cu12|-cu11", name)]


def test_no_requirement_is_for_one_architecture_alone(lines: list[str]) -> None:
    for line in lines:
        machines = set(re.findall(r"platform_machine == '(\w+)'", line))
        assert not machines or {"aarch64", "x86_64"} <= machines, line


def test_the_server_is_in_it(pins: dict[str, set[str]]) -> None:
    needed = {"fastapi", "uvicorn", "pydantic", "numpy", "soundfile", "python-multipart", "pyyaml"}
    assert needed <= pins.keys()
