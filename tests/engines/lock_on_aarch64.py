"""By hand, with network: has every pin of the F5-TTS lock a wheel for aarch64 whose hash is in the lock?

`python -m tests.engines.lock_on_aarch64` asks the index through pip, as if for a machine of that kind with glibc
2.28 and this interpreter's Python, and installs nothing. The pins that are built from source anywhere are left out.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LOCK = Path(__file__).parents[2] / "requirements" / "engine-f5.txt"
SOURCES = {"antlr4-python3-runtime", "encodec", "transformers-stream-generator"}
PLATFORMS = ["manylinux2014_aarch64", *(f"manylinux_2_{minor}_aarch64" for minor in range(17, 29))]


def main() -> None:
    """Print how many wheels there are; exit 1 when a pin has none or its hash is not in the lock."""
    text = LOCK.read_text().replace("\\\n", " ")
    hashes = set(re.findall(r"sha256:(\w+)", text))
    # With hashes pip would download all of it to look.
    pins = [re.sub(r"\s*--hash=\S+", "", line) for line in text.splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        plain, report = Path(folder, "plain.txt"), Path(folder, "report.json")
        plain.write_text("\n".join(pin for pin in pins if pin.partition("==")[0] not in SOURCES))
        command = [
            sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps",
            "--only-binary=:all:", "--target", folder, "--implementation", "cp",
            "--python-version", f"{sys.version_info.major}.{sys.version_info.minor}",
            *(f"--platform={platform}" for platform in PLATFORMS), "--report", str(report), "-r", str(plain),
        ]  # fmt: skip
        subprocess.run(command, check=True)
        found = [each["download_info"] for each in json.loads(report.read_text())["install"]]
    wheels = {each["url"].rpartition("/")[2]: each["archive_info"]["hashes"]["sha256"] for each in found}
    strangers = [name for name, sha256 in wheels.items() if sha256 not in hashes]
    own = sum("aarch64" in name for name in wheels)
    print(f"{len(wheels)} wheels, {own} of them for aarch64 alone; not in the lock: {strangers or 'none'}")
    sys.exit(bool(strangers))


if __name__ == "__main__":
    main()
