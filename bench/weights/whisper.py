"""The Whisper models that Audition fetches for itself, pinned as a model's weights are.

Whisper is OpenAI's (MIT); these are its conversions for CTranslate2 by the makers of faster-whisper.
"""

from bench.catalog.entry import WeightFile

_TINY = ("Systran/faster-whisper-tiny.en", "0d3d19a32d3338f10357c0889762bd8d64bbdeba")
_BASE = ("Systran/faster-whisper-base.en", "3d3d5dee26484f91867d81cb899cfcf72b96be6c")
# Both repositories have the same files of these two names.
_TOKENIZER = ("tokenizer.json", 2128466, "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df")
_WORDS = ("vocabulary.txt", 422309, "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf")


def _list_files(of: tuple[str, str], *files: tuple[str, int | None, str | None]) -> tuple[WeightFile, ...]:
    repo, revision = of
    return tuple(
        WeightFile(repo=repo, revision=revision, path=path, bytes=size, sha256=sha256)
        for path, size, sha256 in files
    )


WHISPER_MODELS = {
    "tiny.en": _list_files(
        _TINY,
        ("model.bin", 75537502, "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
        ("config.json", 2317, "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
        _TOKENIZER,
        _WORDS,
    ),
    "base.en": _list_files(
        _BASE,
        ("model.bin", 145216508, "2a166925539a16005f14ff328359f9b9adb9dc4fb631bb3b227526862e93e2ef"),
        ("config.json", None, None),
        _TOKENIZER,
        _WORDS,
    ),
}
"""By the name that `whisper_model` takes."""
