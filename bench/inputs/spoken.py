"""What is spoken in a line of a transcript, and what is only written: names, noises, codes, markup.

A cloned voice speaks what its reference's text says. So a name before a line, `[laughs]`, a time or a tag must
neither reach a model nor be spoken: it is taken out where it is certain what it is, and refused with its line where
it could as well be said.
"""

import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import BadInput

ANNOTATION = re.compile(r"\[[^\]]*\]|\([^)]*\)|[\u266a\u266b]")
"""What is not speech, in a cue: no cut is made across it."""
_TOKEN = re.compile(r"<\|[^|>]*\|>")
_TAG = re.compile(r"</?[A-Za-z][^>]*>|<\d[\d:.]*>|\{\\[^}]*\}")
_CLOCK = r"(?:\d{1,2}:)?\d{1,2}:\d{2}(?:[.,:]\d{1,3})?"
_ONLY_TIMES = re.compile(rf"[\[(<]?{_CLOCK}(?:\s*(?:-->|-|\u2013|,|to)\s*{_CLOCK})?[\])>]?")
_LEADING_TIME = re.compile(rf"[\[(<]{_CLOCK}[\])>]\s*(?:-\s*)?|{_CLOCK}\s*(?:-\s+)?(?=\D)")
_SPEAKER = r"(?:speaker|spk)[ _-]?[0-9a-z]{1,3}|s[0-9]{1,2}"
_SURE_NAME = re.compile(
    rf"(?:\*\*)?(?:[\[(]({_SPEAKER})[\])](?:\*\*)?\s*:?|({_SPEAKER})(?:\*\*)?\s*:|(speaker_\d+))(?:\*\*)?\s+",
    re.IGNORECASE,
)
_NAME = re.compile(
    r"(?:\*\*)?([^\W\d_][\w'\u2019-]*\.?(?: [^\W\d_][\w'\u2019-]*\.?){0,2})(?:\*\*)?:(?:\*\*)?\s+(?=\S)"
)
_TURN = re.compile(r">>\s*")
_DASH = re.compile(r"[-\u2010-\u2015]\s*\S")
_NOISE = re.compile(
    r"\s*(?:\w+ly |short |long |brief |loud |soft |background |door |phone )*"
    r"(?:laugh|chuckl|giggl|sigh|cough|sneez|sniff|breath|inhal|exhal|gasp|groan|cry|cries|sob|clear|throat|paus|silen|"
    r"music|applau|clap|cheer|noise|inaudible|unintelligible|indistinct|crosstalk|click|beep|ring|slam|bang|knock|"
    r"whisper|hum|static|blank)\w*(?: \w+){0,2}\s*",
    re.IGNORECASE,
)
_STARRED = re.compile(r"\*{1,3}([^*\n]+)\*{1,3}")
_PARENTHESES = re.compile(r"\(([^)]*)\)")
_BRACKETS = re.compile(r"\[[^\]]*\]|[\u266a\u266b]")
_CODE = re.compile(
    r"-->|<\||\|>|https?://|\\[nNh{]|[\[\]{}|\t]|\b\d{1,2}:\d{2}(?::\d{2})?[.,]\d+|\bspeaker_\d+|&[a-z]+;|&#\d+;",
    re.IGNORECASE,
)
_OTHER_FORM = re.compile(
    r"\{\\rtf|<\?xml|<tt[ >]|<html|<!doctype|\[Script Info\]|File type = \"ooTextFile\"", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Line:
    """What is written in a line, and who says it where that is stated; `number` is None where there are no lines."""

    number: int | None
    text: str
    speaker: str | None = None


def read_plain(path: Path, content: str, *, numbered: bool = True) -> str:
    """Return what is spoken in a text without times; `numbered`: its lines are those of the file.

    Raises:
        BadInput: another file's form; two speakers; a parenthesis or a name that may be said or not; a code left over.
            The message names the line.
    """
    if _OTHER_FORM.match(content.lstrip()):
        raise BadInput(
            f"{path}:1: this is a file of another kind (RTF, XML, subtitles of another form); save the transcript as "
            "WebVTT, SRT, JSON or plain text."
        )
    raw = [(number if numbered else None, text.strip()) for number, text in enumerate(content.split("\n"), 1)]
    lines = [Line(number, text) for number, text in raw if text and not _ONLY_TIMES.fullmatch(text)]
    lines = split_speakers(path, _strip_times(path, lines))
    _refuse_two(path, lines)
    return "\n".join(_strip_plain(path, line) for line in lines)


def split_speakers(path: Path, lines: Sequence[Line]) -> list[Line]:
    """Return the lines without the names before them; a line that had one says whose it is.

    Certain are `SPEAKER_00` and the like, `>>`, a name that begins two lines or more, and names that begin all of them.

    Raises:
        BadInput: one line begins as a name would, and as a sentence might; or `>>` says that somebody else speaks.
    """
    if turn := next((line for line in lines[1:] if _TURN.match(line.text)), None):
        raise BadInput(f"{_where(path, turn)}: `>>` says that somebody else speaks here; {_ONE_SPEAKER}")
    lines = [
        replace(line, text=_TURN.sub("", line.text)) if _TURN.match(line.text) else line for line in lines
    ]
    found = [_find_name(line.text) for line in lines]
    counts = Counter(match[1] for match in found if match)
    all_named = len(lines) > 1 and all(found)
    out = []
    for line, match in zip(lines, found, strict=True):
        if (sure := _SURE_NAME.match(line.text)) is not None:
            out.append(Line(line.number, line.text[sure.end() :], sure[1] or sure[2] or sure[3]))
        elif match is None:
            out.append(line)
        elif counts[match[1]] > 1 or all_named:
            out.append(Line(line.number, line.text[match.end() :], match[1]))
        elif match[1].isupper() or line.text[match.end() :].lstrip("\"'\u201c\u2018(")[:1].isupper():
            raise BadInput(
                f"{_where(path, line)}: is `{match[1]}:` the name of who speaks, or is it said? Leave a name out; "
                "write what is said without a colon."
            )
        else:
            out.append(line)
    return out


def strip_markup(text: str) -> str:
    """Return a text without tags, a recogniser's tokens and entities."""
    return html.unescape(_TAG.sub("", _TOKEN.sub(" ", text)))


def strip_stars(text: str) -> tuple[str, bool]:
    """Return a text without asterisks, and whether a noise stood between them: `*laughs*` is one, `*very*` is said."""
    noise = any(_NOISE.fullmatch(inside) for inside in _STARRED.findall(text))
    return _STARRED.sub(lambda found: " " if _NOISE.fullmatch(found[1]) else found[1], text), noise


def refuse_codes(path: Path, line: Line) -> None:
    """See that nothing is left that nobody says.

    Raises:
        BadInput: something is.
    """
    if code := _CODE.search(line.text):
        about = line.text[max(0, code.start() - 20) : code.end() + 20].strip()
        raise BadInput(
            f"{_where(path, line)}: `{about}` is not speech, and would be spoken; write only what is said."
        )


_ONE_SPEAKER = "a reference has one speaker. Give a clip in which only the voice to clone speaks."


def _find_name(text: str) -> re.Match[str] | None:
    match = _NAME.match(text)
    return match if match is not None and all(word[0].isupper() for word in match[1].split()) else None


def _strip_times(path: Path, lines: Sequence[Line]) -> list[Line]:
    """Return the lines without a time before each; a single line may begin with one that is said (`10:30 is early`)."""
    found = [_LEADING_TIME.match(line.text) for line in lines]
    if not any(found) or (len(lines) == 1 and lines[0].text[0] not in "[(<"):
        return [*lines]
    out = []
    for line, match in zip(lines, found, strict=True):
        if match is None:
            raise BadInput(
                f"{_where(path, line)}: other lines begin with a time and this one does not; take them out."
            )
        out.append(replace(line, text=line.text[match.end() :]))
    return out


def _refuse_two(path: Path, lines: Sequence[Line]) -> None:
    names: dict[str, Line] = {}
    for line in lines:
        if line.speaker is not None:
            names.setdefault(line.speaker.casefold(), line)
    dashed = [line for line in lines if _DASH.match(line.text)]
    if len(names) > 1:
        second = [*names.values()][1]
        raise BadInput(f"{_where(path, second)}: here {second.speaker} speaks; {_ONE_SPEAKER}")
    if len(dashed) > 1:
        raise BadInput(f"{_where(path, dashed[1])}: lines of a dialogue, each after a dash; {_ONE_SPEAKER}")


def _strip_plain(path: Path, line: Line) -> str:
    text, _ = strip_stars(_BRACKETS.sub(" ", strip_markup(line.text)))
    for inside in _PARENTHESES.findall(text):
        if not _NOISE.fullmatch(inside):
            raise BadInput(
                f"{_where(path, line)}: is `({inside[:60]})` said? Then write it without the parentheses; else leave "
                "it out, or put it in brackets: [...]."
            )
    text = _PARENTHESES.sub(" ", text)
    refuse_codes(path, Line(line.number, text))
    return text


def _where(path: Path, line: Line) -> str:
    return f"{path}:{line.number}" if line.number else f"{path}"
