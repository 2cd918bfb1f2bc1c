"""The page runs in Safari 15: what came later is not used, or has a way round. By name, for none can be run here."""

import re

import pytest

from bench.listening.server import PAGE

LATER = {
    r"AbortSignal\.(timeout|any)": "16 and 17.4",
    r"\.at\(": "15.4: Array.prototype.at",
    r"\.(findLast|findLastIndex|toSorted|toReversed|toSpliced|with)\(": "15.4 and 16",
    r"Object\.(hasOwn|groupBy)|Map\.groupBy|Array\.fromAsync": "15.4 and later",
    r"structuredClone|crypto\.randomUUID|BroadcastChannel|navigator\.locks": "15.4",
    r"requestIdleCallback|scheduler\.|navigator\.userAgentData": "not in Safari",
    r"Promise\.(withResolvers|try)": "17.4",
    r"\(\?<[=!]": "16.4: lookbehind",
    r"\bstatic \{|#\w+ in ": "16.4: static blocks, brand checks",
    r"\d[dsl]v[hw]\b": "15.4: small and dynamic viewport units",
    r"@layer|@container|@scope|color-mix\(|oklch\(|:popover|&:": "15.4 and later",
    r":has\(|:user-invalid": "15.4 and 16.5",
    r"\binert\b|popover=|loading=.lazy": "15.5 and later",
}
WITH_A_WAY_ROUND = {
    r"\.roundRect\(": (r"if \(pen\.roundRect\)", "16"),
    r"\.showModal\(": (r"showModal \?", "15.4"),
    r"navigator\.audioSession": (r"if \(navigator\.audioSession\)", "16.4"),
}


def texts() -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in sorted(PAGE.iterdir())}


@pytest.mark.parametrize("pattern", LATER)
def test_nothing_newer_than_safari_15(pattern: str) -> None:
    found = {name for name, text in texts().items() if re.search(pattern, _code(text))}
    assert not found, f"{LATER[pattern]}: {pattern} in {sorted(found)}"


@pytest.mark.parametrize("pattern", WITH_A_WAY_ROUND)
def test_what_is_newer_is_asked_for_first(pattern: str) -> None:
    guard, _ = WITH_A_WAY_ROUND[pattern]
    used = {name for name, text in texts().items() if re.search(pattern, _code(text))}
    guarded = {name for name, text in texts().items() if re.search(guard, text)}
    assert used and used <= guarded


def _code(text: str) -> str:
    """Return a file without its comments, which may name what is not used."""
    return re.sub(r"(^|\s)//.*$", "", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL), flags=re.MULTILINE)
