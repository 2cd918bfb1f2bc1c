"""The entries that docs/adding-a-model.md shows are entries, and its table has every key."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.catalog.loader import HERE, available, load
from bench.controller.host_settings import HostSettings, choose_way
from bench.controller.request import RunRequest
from tests.docs.tables import DOCS, KEY_MEANINGS, entry_errors, example, key_rows, mistakes, options

FREE = ("profiles.", "run.request.", "served.request.", "run.platforms.", "run.environment.", "run.unmet.")
"""Mappings whose keys are an entry's own."""
EXAMPLES = ("house_voice.yml", "pico.yml", "house_image.yml")


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """The user's own folder, with the page's examples in it."""
    for name in EXAMPLES:
        (tmp_path / name).write_text(example(name))
    return tmp_path


def test_examples_load(catalog: Path) -> None:
    voice, pico, image = (load(Path(name).stem, catalog) for name in EXAMPLES)
    assert voice.run.kind == "http"
    assert voice.run.request["model"] == "tts-1"
    assert pico.run.kind == "engine"
    assert image.run.kind == "image"
    assert choose_way(image, HostSettings()) == "image"
    assert set(available(catalog)) == {*available(), "house_voice", "pico", "house_image"}


def test_the_example_is_a_baseline_as_the_page_gives_it(catalog: Path) -> None:
    request: dict[str, Any] = {
        "runs_dir": catalog,
        "host": "titan",
        "model": "f5",
        "baseline": "house_voice",
        "baseline_url": "http://voice.example:8772",
        "reference_audio": catalog / "voice.wav",
        "catalog_dir": catalog,
    }
    entry = RunRequest.of(request).baseline_entry()
    assert choose_way(entry, HostSettings(state_dir="/var/lib/audition")) == "http"


def test_an_entry_of_ones_own_wins(catalog: Path) -> None:
    ours = yaml.safe_load((HERE / "flite.yml").read_text())
    (catalog / "flite.yml").write_text(yaml.safe_dump(ours | {"title": "Mine"}))
    assert load("flite", catalog).title == "Mine"


def test_every_key_of_the_catalog_is_in_the_table() -> None:
    known = {key.replace("[]", "") for key, *_ in key_rows()}

    def keys(node: Any, prefix: str) -> set[str]:
        if isinstance(node, list):
            return {key for each in node for key in keys(each, prefix)}
        if not isinstance(node, dict) or prefix in FREE:
            return set()
        here = {f"{prefix}{name}" for name in node}
        return here | {key for name, inner in node.items() for key in keys(inner, f"{prefix}{name}.")}

    for path in HERE.glob("*.yml"):
        assert keys(yaml.safe_load(path.read_text()), "") <= known, path.name


def test_meanings_are_of_keys_that_exist() -> None:
    keys = {key for key, *_ in key_rows()}
    for key in KEY_MEANINGS:
        assert key in keys or any(each.endswith(key.removeprefix("*")) for each in keys), key


def test_each_mistake_is_named_with_file_and_key() -> None:
    table = entry_errors()
    assert len(table.splitlines()) == len(mistakes()) + 2
    for said in ("reference.min_s", "dialekt", "clone_encoder.status", "'their_voice'", "house_voice.yml:"):
        assert said in table


def test_both_sides_of_kind_http_have_an_address_and_a_token() -> None:
    page = (DOCS / "adding-a-model.md").read_text(encoding="utf-8")
    for name in ("model_url", "model_token_env", "baseline_url", "baseline_token_env"):
        assert name in options("common")
        assert f"`{name}`" in page
