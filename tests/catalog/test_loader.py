"""Catalog entries: ours all load, and what is wrong in one is found by file, key and line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from bench.catalog.entry import DialectName, EngineRun
from bench.catalog.loader import HERE, available, load, read
from bench.client.dialects import DIALECTS
from bench.errors import BadInput
from bench.serving.server import load_adapter
from tests.support import entries


def _file(folder: Path, name: str = "mine", edit: Callable[[str], str] = str) -> Path:
    path = folder / f"{name}.yml"
    path.write_text(edit(yaml.safe_dump(entries.raw("mine"), sort_keys=False)), encoding="utf-8")
    return path


def _refused(path: Path) -> str:
    with pytest.raises(BadInput) as refused:
        read(path)
    return str(refused.value)


def _line(path: Path, key: str) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(number for number, text in enumerate(lines, 1) if text.strip().startswith(key))


@pytest.mark.parametrize("name", available())
def test_every_entry_that_ships_is_valid(name: str) -> None:
    entry = load(name)
    assert entry.name == name
    assert entry.reference.min_s <= entry.reference.max_s
    for weight in entry.weights:
        assert weight.revision is None or len(weight.revision) == 40
    assert entry.proved == "nothing" or all(each.source for each in entry.proved), "what says so?"


@pytest.mark.parametrize("name", ["espeak", "flite", "hibari"])
def test_the_demos_and_the_tests_voices_need_no_weights_and_claim_no_cloning(name: str) -> None:
    entry = load(name)
    assert isinstance(entry.run, EngineRun)
    assert (entry.weights, entry.clone_encoder.status, entry.run.gpu) == ([], "none", False)
    assert load_adapter(entry.run.adapter).sample_rate_hz > 0


def test_an_unknown_model_is_answered_with_the_catalog() -> None:
    with pytest.raises(BadInput, match=r"unknown model 'nosuch'; the catalog has: .*espeak.*flite"):
        load("nosuch")


def test_an_own_folder_adds_to_the_catalog_and_wins_over_it(tmp_path: Path) -> None:
    entries.write(tmp_path, entries.raw("mine"), entries.raw("espeak", title="My own build"))
    assert set(available(tmp_path)) == {*available(), "mine"}
    assert load("espeak", tmp_path).title == "My own build"
    assert load("flite", tmp_path).title == load("flite").title


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not a directory"):
        load("espeak", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("key", "instead", "named"),
    [
        ("commercial_use:", "comercial_use: true", "licences.code.comercial_use"),
        ("min_s:", "min_s: three", "reference.min_s"),
        ("status:", "status: maybe", "clone_encoder.status"),
        ("adapter:", "adapter: no colon", "run.engine.adapter"),
        ("kind:", "kind: magic", "run"),
    ],
)
def test_a_wrong_key_is_named_with_its_line(tmp_path: Path, key: str, instead: str, named: str) -> None:
    path = _file(tmp_path)
    text = path.read_text(encoding="utf-8").splitlines()
    number = _line(path, key)
    indent = text[number - 1][: len(text[number - 1]) - len(text[number - 1].lstrip())]
    text[number - 1] = indent + instead
    path.write_text("\n".join(text), encoding="utf-8")
    message = _refused(path)
    at = _line(path, "run:") if named == "run" else number
    assert f"{path}:{at}: {named}: " in message
    assert "docs/adding-a-model.md" in message


def test_a_missing_key_is_named_with_the_line_of_what_lacks_it(tmp_path: Path) -> None:
    path = _file(tmp_path, edit=lambda text: text.replace("  max_s: 12\n", ""))
    assert f"{path}:{_line(path, 'reference:')}: reference.max_s: Field required" in _refused(path)


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    path = _file(
        tmp_path, edit=lambda text: text.replace("min_s: 3", "min_s: -3").replace("title:", "titel:")
    )
    message = _refused(path)
    assert all(key in message for key in ("reference.min_s", "titel", "title: Field required"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reference.min_s": 13}, "min_s is greater than reference.max_s"),
        ({"profiles": {"fast": {}}}, "profiles must have `upstream`"),
        ({"name": "other"}, "name: must be 'mine', as the file is named"),
    ],
)
def test_what_does_not_fit_together_is_said(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(yaml.safe_dump(entries.raw("mine", **changes)), encoding="utf-8")
    assert says in _refused(path)


def test_a_dialect_that_does_not_exist_is_found_before_a_run(tmp_path: Path) -> None:
    path = tmp_path / "chatterbox.yml"
    path.write_text((HERE / path.name).read_text().replace("dialect: ", "dialect: x"))
    assert f"{path}:{_line(path, 'dialect:')}: served.dialect: " in _refused(path)
    assert get_args(DialectName) == ("auto", *DIALECTS)


def test_a_key_given_twice_is_named_with_its_line(tmp_path: Path) -> None:
    path = _file(tmp_path, edit=lambda text: text.replace("min_s: 3", "min_s: 3\n  min_s: 5"))
    assert f"{path}:{_line(path, 'min_s: 5')}: min_s: is given a second time" in _refused(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [("a: [", "not YAML"), ("title: Caf\xe9\n", "not YAML"), ("- a\n", "mapping of keys"), ("", "mapping")],
)
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "mine.yml").write_text(text, encoding="latin-1")
    assert says in _refused(tmp_path / "mine.yml")


_TENSORS = {"repo": "maker/voice", "revision": "ab" * 20, "path": "model.safetensors"}


@pytest.mark.parametrize(
    "path",
    [
        "config.yaml",
        "voice.yml",
        "model.bin",
        "a/b.pt",
        "m.onnx",
        "m.pkl",
        "m.npy",
        "run.py",
        "config.JSON",
        "json",
    ],
)
@pytest.mark.parametrize("lacking", ["bytes", "sha256"])
def test_a_file_that_can_name_code_must_be_pinned_whole(tmp_path: Path, path: str, lacking: str) -> None:
    pinned = _TENSORS | {"path": path, "bytes": 7, "sha256": "0" * 64}
    assert (
        len(
            read(entries.write(tmp_path / "good", entries.raw("mine", weights=[pinned])) / "mine.yml").weights
        )
        == 1
    )
    entries.write(tmp_path, entries.raw("mine", weights=[_TENSORS, pinned | {lacking: None}]))
    line = _line(tmp_path / "mine.yml", f"path: {path}")
    said = _refused(tmp_path / "mine.yml")
    assert f"mine.yml:{line}: weights.1: maker/voice/{path} can name code" in said
    assert "give both" in said


@pytest.mark.parametrize(
    "path", ["config.json", "README.md", "model.safetensors", "merges.txt", "spiece.model", "t.tiktoken"]
)
def test_what_is_plain_may_be_held_to_its_first_sight(tmp_path: Path, path: str) -> None:
    entries.write(tmp_path, entries.raw("mine", weights=[_TENSORS | {"path": path}]))
    assert read(tmp_path / "mine.yml").weights[0].sha256 is None
