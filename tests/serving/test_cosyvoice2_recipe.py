"""What CosyVoice 2's recipe may name, and what stands in for packages that only training imports; without a model."""

import sys
from pathlib import Path

import pytest

from bench.errors import BadInput
from bench.serving.cosyvoice2 import recipe, standins
from tests.support import tiny_cosyvoice2 as tiny


def test_a_package_that_is_there_is_not_stood_in_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "wget.py").write_text("REAL = True\n")
    names = ("gdown", "lightning", "wget", "whisper")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    with standins.standing_in(len) as absent:
        import lightning.pytorch.utilities  # type: ignore[import-not-found]
        import wget  # type: ignore[import-not-found]

        assert wget.REAL
        assert lightning.pytorch.utilities.rank_zero_only(ask_nothing) is ask_nothing
        assert sys.modules["whisper"].log_mel_spectrogram is len
        with pytest.raises(standins.NotInstalled, match=r"lightning\.Trainer is not installed"):
            lightning.Trainer()
        with pytest.raises(ModuleNotFoundError):
            import lightning.fabric  # type: ignore[import-not-found]
        with pytest.raises(ImportError):
            from lightning import Fabric  # noqa: F401
    assert "wget" not in absent
    assert {"gdown", "lightning", "whisper"} <= set(absent)
    assert not {name for name in sys.modules if name.partition(".")[0] in absent}


def ask_nothing() -> None:
    """Stand for a function that a decorator is given."""


def test_the_recipe_of_the_tiny_model_is_allowed_and_names_real_parts(tmp_path: Path) -> None:
    path = tmp_path / "cosyvoice2.yaml"
    path.write_text(tiny._recipe(tiny._FULL), encoding="utf-8")
    recipe.check(path)
    named = {line.split("!", 1)[1].split()[0] for line in path.read_text().splitlines() if "!" in line}
    assert {f"!{tag}" for tag in named} < recipe.ALLOWED
    assert len(named) > 12


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !new:os.system [ls]\n", r"cosyvoice2.yaml:1: !new:os.system is not part of CosyVoice 2"),
        ("a:\n  - !apply:torch.load [x]\n", r"cosyvoice2.yaml:2: !apply:torch.load"),
        ("a: {b: !include:other.yaml}\n", r"!include:other.yaml"),
        ("a: !!python/object/apply:os.system [ls]\n", "python/object"),
        ("? !name:os.system\n: 1\n", "!name:os.system"),
        ("- a\n", "not a mapping"),
        ("a: [\n", "not YAML"),
    ],
)
def test_a_recipe_may_name_nothing_else(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "cosyvoice2.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=said):
        recipe.check(path)
