"""Text from outside: what is hidden in it, and what is left as it was."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.text.outside import FRAGMENT, clean

SECRET = "sk-9Qx7LmZ2vBtR4wKp"


def holds_part(text: str, secret: str = SECRET) -> bool:
    return any(secret[at : at + FRAGMENT] in text for at in range(len(secret) - FRAGMENT + 1))


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("you sent sk-9Qx7LmZ2vBtR4wKp!", "you sent [token]!"),
        ("no such key: sk-9Qx7...4wKp", "no such key: [token]...4wKp"),
        ("9Qx7Lm and vBtR4w", "[token] and [token]"),
        ("sk-9Qx7LmZ2vBtR4wKpsk-9Qx7LmZ2vBtR4wKp", "[token][token]"),
        ("Authorization=SK-9QX7LMZ2VBTR4WKP", "Authorization=[token]"),
        ("sk-9Q is short enough", "sk-9Q is short enough"),
        ("sk-9Qx7LmZ2v\x00BtR4wKp", "[token]"),
        ("sk-9Qx7Lm\x1b[0mZ2vBtR4wKp", "[token]"),
        ("sk-9Q\u200bx7LmZ2\u202evBtR4wKp", "[token]"),
        ("Grüße, 世界\tand\nmore", "Grüße, 世界\tand\nmore"),
        ("50%\r100%\r\ndone", "50%\n100%\ndone"),
        ("\x1b]0;a new title\x07\x1b[31mred\x1b[0m", "red"),
        ("\x9b31m\x07\x08", "31m"),
        ("http://me:pass@hub/x and ssh://git@host/y", "http://hub/x and ssh://host/y"),
        ("mail me@host, http://hub/a@b", "mail me@host, http://hub/a@b"),
    ],
)  # fmt: skip
def test_what_is_left(said: str, kept: str) -> None:
    assert clean(said, [SECRET]) == kept


def test_a_short_secret_is_hidden_whole_and_an_empty_one_is_none() -> None:
    assert clean("abc, not ab", ["abc"]) == "[token], not ab"
    assert clean("as it was", [""]) == "as it was"


@given(st.text(), st.text(), st.integers(0, len(SECRET)), st.integers(0, len(SECRET)))
def test_no_part_of_a_secret_and_nothing_unseen_is_left(
    before: str, after: str, first: int, last: int
) -> None:
    said = clean(before + SECRET[first:last] + after, [SECRET])
    assert not holds_part(said)
    assert not any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n" for c in said)


@given(st.text(alphabet=st.characters(exclude_categories=["C", "Zl", "Zp"])))
def test_what_holds_no_secret_stays(said: str) -> None:
    if "://" not in said and not holds_part(said):
        assert clean(said, [SECRET]) == said
