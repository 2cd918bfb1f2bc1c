"""Chunking and joining for F5-TTS: pure, so it is tested here and not in the package's environment."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.errors import BadInput
from bench.serving.f5 import chunking
from bench.serving.f5.settings import F5Settings


def test_budget_is_the_packages_arithmetic() -> None:
    # 51 bytes in 5 s leave 17 s of the 22, at 10.2 bytes a second; at double speed twice as much fits.
    text = "x" * 51
    assert chunking.budget_bytes(text, 5.0, 1.0) == 173
    assert chunking.budget_bytes(text, 5.0, 2.0) == 346
    assert chunking.budget_bytes("é" * 51, 5.0, 1.0) == 346, "bytes, not characters"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Good morning, I am calling about the car.", ["Good morning,", "I am calling about the car."]),
        ("No, I never said that to anyone.", ["No, I never said that", "to anyone."]),
        ("Yes, it is.", ["Yes, it is."]),
        (
            "Please ask Dr. Smith about the appointment.",
            ["Please ask Dr. Smith", "about the appointment."],
        ),
        ("My name is J. R. Hartley.", ["My name is J. R. Hartley."]),
        ("We open at 10:30 a.m. today, not at 9.15.", ["We open at 10:30 a.m. today,", "not at 9.15."]),
        ("This one is the best. Next to it is No. 7.", ["This one is the best.", "Next to it is No. 7."]),
        ("Stop.", ["Stop."]),
        (
            "The quick brown fox jumps over the lazy dog and then sleeps, as it does.",
            ["The quick brown fox jumps over the lazy dog and then sleeps,", "as it does."],
        ),
        (
            "The repairs were finished on Tuesday because nobody else called, so come.",
            ["The repairs were finished on Tuesday", "because nobody else called, so come."],
        ),
        (
            "Antidisestablishmentarianism notwithstanding everybody left.",
            ["Antidisestablishmentarianism notwithstanding everybody left."],
        ),
        ("你好，我今天打电话是想问一下汽车的事情。", ["你好，我今天打电话是想问一下汽车的事情。"]),
        ("今天天气很好，我们一起去公园散步吧。", ["今天天气很好，", "我们一起去公园散步吧。"]),
    ],
)
def test_first_clause(text: str, expected: list[str]) -> None:
    assert chunking.first_clause([text, "Rest."]) == [*expected, "Rest."]


def test_first_clause_of_nothing() -> None:
    assert chunking.first_clause([]) == []


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=200))
def test_first_clause_loses_no_word(text: str) -> None:
    cut = chunking.first_clause([text])
    assert "".join("".join(cut).split()) == "".join(text.split())
    if len(cut) == 2:
        assert all(len(part.encode()) >= chunking.SHORT_TEXT_BYTES for part in cut)
    else:
        assert cut == [text]


def _all_at_once(waves: list[NDArray[np.float32]], overlap: int) -> NDArray[np.float32]:
    """The oracle: every wave faded into the whole of what came before it, as in infer_batch_process."""
    whole: NDArray[np.floating] = waves[0]
    for wave in waves[1:]:
        n = min(overlap, len(whole), len(wave))
        if n == 0:
            whole = np.concatenate([whole, wave])
            continue
        seam = whole[-n:] * np.linspace(1, 0, n) + wave[:n] * np.linspace(0, 1, n)
        whole = np.concatenate([whole[:-n], seam, wave[n:]])
    return whole.astype(np.float32)


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    overlap=st.integers(0, 25),
    seed=st.integers(0, 2**32 - 1),
)
def test_cross_fade_in_pieces_is_the_whole(lengths: list[int], overlap: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    waves = [random.standard_normal(n).astype(np.float32) for n in lengths]
    join = chunking.CrossFade(overlap)
    pieces = [join.push(wave, last=i == len(waves) - 1) for i, wave in enumerate(waves)]
    assert all(piece.dtype == np.float32 for piece in pieces)
    np.testing.assert_array_equal(np.concatenate(pieces), _all_at_once(waves, overlap))


def test_cross_fade_keeps_back_only_what_can_change() -> None:
    join = chunking.CrossFade(10)
    assert len(join.push(np.ones(100, np.float32), last=False)) == 90
    assert len(join.push(np.ones(50, np.float32), last=True)) == 50


def test_settings_default_to_the_packages() -> None:
    settings = F5Settings.parse({})
    assert (settings.nfe_step, settings.cfg_strength, settings.sway_sampling_coef) == (32, 2.0, -1.0)
    assert (settings.cross_fade_s, settings.chunker, settings.dtype) == (0.15, "package", None)


@pytest.mark.parametrize(
    "profile", [{"nfe": 16}, {"nfe_step": 0}, {"dtype": "bfloat16"}, {"solver": "euler"}]
)
def test_a_wrong_profile_is_named(profile: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=next(iter(profile))):
        F5Settings.parse(profile)
