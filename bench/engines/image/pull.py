"""`python -m bench.engines.image.pull REFERENCE PLATFORM TAG`: pull a published image by its digest, with progress.

Its last line is JSON: what is known of the image. It ends with `NOTHING_HERE` where the image is for other machines,
which is the candidate's matter; whatever else fails is the registry's, or this host's. Credentials are Docker's own.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from docker import errors as docker_errors

from bench.docker_host.host import DockerHost
from bench.errors import AuditionError
from bench.text.outside import clean

NOTHING_HERE = 3
"""Exit code: there is an image, and none for this machine."""
SHOWN = "install | image | "
"""How a line begins that is for whoever waits."""
_EVERY_S = 5.0
_LIMIT_S = 3600
_MB = 1_000_000
_LABELS = 40
_LABEL_CHARACTERS = 300


class ForOthers(AuditionError):
    """What was pulled, or could be, is for other machines."""


def main() -> None:
    """Pull it, name it, say what it is."""
    parser = argparse.ArgumentParser(prog="bench.engines.image.pull", description=__doc__)
    for name in ("reference", "platform", "tag"):
        parser.add_argument(name)
    given = parser.parse_args()
    try:
        with DockerHost(timeout_s=_LIMIT_S) as docker_host:
            facts = pull_image(docker_host, given.reference, given.platform, given.tag)
    except ForOthers as error:
        print(error)  # noqa: T201 - what this command is for
        sys.exit(NOTHING_HERE)
    except (AuditionError, docker_errors.DockerException) as error:
        sys.exit(str(error))
    print(json.dumps(facts))  # noqa: T201 - what this command is for


def pull_image(docker_host: DockerHost, reference: str, platform: str, tag: str) -> dict[str, Any]:
    """Pull `reference` (`repository@sha256:...`) and give it the name `tag`, so that no prune takes it for a leftover;
    return what `describe_image` says.

    Raises:
        ForOthers: it is not for `platform`.
        AuditionError: it could not be had; Docker's own words are in the message.
    """
    progress = Progress()
    with docker_host.answering():
        try:
            told = docker_host.api.pull(reference, stream=True, decode=True)
            for line in told:
                if "error" in line:
                    raise _why(reference, platform, str(line["error"]))
                progress.take(line)
        except docker_errors.APIError as error:
            raise _why(reference, platform, str(error.explanation)) from error
        found = docker_host.api.inspect_image(reference)
        if (made_for := f"{found['Os']}/{found['Architecture']}") != platform:
            docker_host.api.remove_image(reference)
            raise ForOthers(_explain(reference, platform, f"it is for {made_for}"))
        name, _, version = tag.partition(":")
        docker_host.api.tag(found["Id"], name, version)
    return describe_image(found, reference, pulled=True)


def describe_image(found: Mapping[str, Any], reference: str, *, pulled: bool) -> dict[str, Any]:
    """Return what an installation records of an image, from Docker's inspection; `pulled`: by us."""
    labels = (found.get("Config") or {}).get("Labels") or {}
    return {
        "reference": reference,
        "id": found["Id"],
        "platform": f"{found['Os']}/{found['Architecture']}",
        "bytes": found["Size"],
        "created": found.get("Created"),
        "labels": {
            clean(name)[:_LABEL_CHARACTERS]: clean(str(labels[name]))[:_LABEL_CHARACTERS]
            for name in sorted(labels)[:_LABELS]
        },
        "pulled": pulled,
    }


class Progress:
    """Says how far a pull is, every few seconds, and each step that Docker names."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}
        self._done: set[str] = set()
        self._said = float("-inf")

    def take(self, line: Mapping[str, Any]) -> None:
        """Take one line of what Docker tells."""
        layer, status = str(line.get("id") or ""), str(line.get("status") or "")
        detail = line.get("progressDetail") or {}
        if status == "Downloading" and "total" in detail:
            self._layers[layer] = (int(detail["current"]), int(detail["total"]))
        elif status in ("Download complete", "Pull complete", "Already exists"):
            size = self._layers.get(layer, (0, 0))[1]
            self._layers[layer] = (size, size)
            if status != "Download complete":
                self._done.add(layer)
        if status and not detail:
            print(f"{layer}: {status}" if layer else status, flush=True)  # noqa: T201 - who waits goes by it
        if time.monotonic() - self._said > _EVERY_S and self._layers:
            self._said = time.monotonic()
            print(f"{SHOWN}{self.say()}", flush=True)  # noqa: T201

    def say(self) -> str:
        """Return how far it is, of the layers that are known by now."""
        here, whole = _sums(self._layers.values())
        layers = f"{len(self._done)} of {len(self._layers)} layers"
        return f"{here / _MB:.0f} of {whole / _MB:.0f} MB, {layers}"


def _sums(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    listed = list(pairs)
    return sum(one for one, _ in listed), sum(other for _, other in listed)


def _why(reference: str, platform: str, said: str) -> AuditionError:
    """Return the error of a pull that Docker ended with these words."""
    if "no matching manifest" in said:
        return ForOthers(_explain(reference, platform, said))
    return AuditionError(f"{reference} could not be pulled: {clean(said)}")


def _explain(reference: str, platform: str, why: str) -> str:
    return f"no {platform.partition('/')[2]}: {reference} has nothing for {platform} ({why})"


if __name__ == "__main__":
    main()
