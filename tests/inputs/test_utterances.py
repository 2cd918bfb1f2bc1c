"""The utterances file: what is accepted, what is refused, and that a long one needs little memory."""

import hashlib
import subprocess
import tracemalloc
from pathlib import Path

import pytest

from bench.controller.prepare import DEFAULT_UTTERANCES
from bench.errors import BadInput
from bench.inputs import utterances


def _file(tmp_path: Path, data: bytes | str) -> Path:
    path = tmp_path / "utterances.txt"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_ids_are_given_or_made_and_comments_passed_over(tmp_path: Path) -> None:
    path = _file(
        tmp_path, "# spoken on the phone\n\nhello\tGood morning.\r\nSee you   then.\n  # end\nBye now."
    )
    assert [(one.id, one.text) for one in utterances.read(path)] == [
        ("hello", "Good morning."),
        ("u02", "See you then."),
        ("u03", "Bye now."),
    ]


def test_a_byte_order_mark_is_not_spoken(tmp_path: Path) -> None:
    assert [one.text for one in utterances.read(_file(tmp_path, b"\xef\xbb\xbfHello there.\n"))] == [
        "Hello there."
    ]


def test_facts_are_the_count_and_the_hash_of_the_bytes(tmp_path: Path) -> None:
    path = _file(tmp_path, "One.\n# two\nThree.\n")
    facts = utterances.validate(path)
    assert facts.count == 2
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        (b"", None, "no utterance"),
        (b"# only a comment\n\n", None, "no utterance"),
        (b"a\tOne.\nb\tTwo.\nA\tThree.\n", 3, "same id 'A' as line 1"),
        (b"a\tOne.\nb\tone.\n", 2, "same text as line 1"),
        (b"Zero.\nu01\tOne.\n", 2, "same id 'u01' as line 1"),
        (b"Fine.\n" + b"word " * 300 + b"\n", 2, "longer than 1000"),
        (b"x" * 3_000_000, 1, "longer than 1000"),
        (b"Fine.\ncaf\xe9\n", 2, "byte 4 is not UTF-8"),
        (b"Fine.\nNo\x00pe.\n", 2, "U+0000"),
        (b"a\tOne\ttwo.\n", 1, "U+0009"),
        (b"two words\tText.\n", 1, "is not an id"),
        (b"../up\tText.\n", 1, "is not an id"),
        (b"\tText.\n", 1, "is not an id"),
        (b"a\t \n", 1, "nothing to speak"),
        (b"...\n", 1, "nothing to speak"),
    ],
)
def test_what_cannot_be_spoken_is_refused_with_its_line(
    tmp_path: Path, data: bytes, line: int | None, says: str
) -> None:
    path = _file(tmp_path, data)
    with pytest.raises(BadInput) as refused:
        utterances.validate(path)
    assert says in str(refused.value)
    assert str(refused.value).startswith(f"{path}:{line}:" if line else f"{path}:")


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such utterances file"):
        utterances.validate(tmp_path / "none.txt")
    with pytest.raises(BadInput, match="not a regular file"):
        utterances.validate(tmp_path)


def test_reading_starts_before_the_end_is_reached(tmp_path: Path) -> None:
    stream = utterances.read(_file(tmp_path, b"One.\nTwo.\n\xff\n"))
    assert next(stream).text == "One."
    assert next(stream).text == "Two."
    with pytest.raises(BadInput):
        next(stream)


@pytest.mark.slow
def test_ten_thousand_lines_need_little_memory(tmp_path: Path) -> None:
    """The peak stays under the file's own size, so no list of the texts can be behind it."""
    path = _file(
        tmp_path, "".join(f"Sentence number {n} of very many, {'and more ' * 50}.\n" for n in range(10_000))
    )
    tracemalloc.start()
    try:
        facts = utterances.validate(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert facts.count == 10_000
    assert peak < path.stat().st_size


def test_the_default_ten_are_phone_length_with_question_number_name_and_list(tmp_path: Path) -> None:
    """Spoken by a real voice: the shortest is two words, the longest about eight seconds."""
    spoken = list(utterances.read(DEFAULT_UTTERANCES))
    assert len(spoken) == 10
    seconds = []
    for one in spoken:
        wav = tmp_path / f"{one.id}.wav"
        subprocess.run(["flite", "-voice", "slt", "-t", one.text, "-o", str(wav)], check=True)
        seconds.append((wav.stat().st_size - 44) / 2 / 16000)
    assert min(len(one.text.split()) for one in spoken) == 2
    assert 6.5 <= max(seconds) <= 9.0
    assert any(one.text.endswith("?") for one in spoken)
    assert any(character.isdigit() for one in spoken for character in one.text)
    assert any("Margaret Ellison" in one.text for one in spoken)
    assert any(one.text.count(",") >= 3 for one in spoken)
