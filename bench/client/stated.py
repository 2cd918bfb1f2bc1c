"""What a server says of its samples: rate, channels, width and coding, wherever and however it says so.

Read are headers (`X-Sample-Rate`, `X-Channels`, `X-Bits-Per-Sample`, `X-Sample-Format` and their spellings), the
parameters of the content type (`audio/pcm;rate=24000;encoding=float;bits=32`, GStreamer's `audio/x-raw,
format=(string)F32LE`), the types that name a coding (`audio/basic` is 8 kHz mu-law by RFC 2046), the fields of
server-sent events, and the catalog entry. What is said and cannot be read is a fault, and so are two statements that
differ: whoever passes over either takes samples for what they are not.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from bench.catalog.entry import RawContainer
from bench.client.faults import TakeFault
from bench.client.samples import WIDTHS, Coding, SampleForm

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 4000, 384000
"""Beyond these a length in seconds, and with it every RTF, would be nonsense."""
_CONTAINERS: dict[RawContainer, str] = {
    "raw": "s16le", "raw_big_endian": "s16be", "raw_float32": "f32le", "raw_mulaw": "mulaw", "raw_alaw": "alaw",
}  # fmt: skip
CODED_TYPES = {
    "audio/basic": "mulaw 8khz mono", "audio/pcmu": "mulaw", "audio/x-mulaw": "mulaw", "audio/mulaw": "mulaw",
    "audio/x-ulaw": "mulaw", "audio/ulaw": "mulaw", "audio/pcma": "alaw", "audio/x-alaw": "alaw", "audio/alaw": "alaw",
}  # fmt: skip
"""Types that are a coding. `audio/basic` is 8 kHz and mono unless a parameter says otherwise."""

Fact = Literal["rate_hz", "channels", "bits", "coding", "big_endian"]
_Value = int | str | bool
_OF_NAME: tuple[tuple[Fact | Literal["width", "words", "order"], re.Pattern[str]], ...] = (
    ("rate_hz", re.compile(r"(sampl(e|ing)(rate|frequency)|audiorate|pcmrate)(hz)?$|^x?rate(hz)?$")),
    ("channels", re.compile(r"channels(count)?$|channelcount$")),
    ("bits", re.compile(r"bits?(per)?sample$|bitdepth$|^x?(sample)?bits?$|bitwidth$")),
    ("width", re.compile(r"samplewidth$|samplesize$|bytespersample$|^x?width$")),
    ("words", re.compile(
        r"(sample|audio|pcm)(format|encoding|codec|coding)$|(output|response)format$|sampletype$"
        r"|^x?(format|encoding|codecs?|dtype)$"
    )),
    ("order", re.compile(r"endian(ness)?$|byteorder$")),
)  # fmt: skip
"""Names, with case, `-`, `_` and `.` taken out, to what their value says."""
_NOT_OURS = re.compile(r"^(content|transfer|accept|access|upgrade|cf|x?amz|x?ratelimit|set)")
"""Headers of HTTP itself and of what stands before a server."""
_GSTREAMER_TYPE = re.compile(r"^\([a-z]+\)")
_NUMBER = re.compile(r"(\d{1,9})(?:\.0+)?\s*(?:hz|bits?|ch(?:annels?)?)?")
_KILO = re.compile(r"(\d{1,3}(?:\.\d{1,3})?)\s*k(?:hz)?")
_WORD = re.compile(r"[a-z]+\d*[a-z]*|\d+(?:\.\d+)?[a-z]*")
_PCM_WORD = re.compile(r"(pcm|linear|lin|lpcm|slin|int|sint|i|l|s|uint|u|float|f|double)(\d{1,2})?(le|be|p)?")
_CODINGS: dict[str, Coding] = {
    "int": "int", "sint": "int", "i": "int", "l": "int", "lin": "int", "linear": "int", "s": "int", "slin": "int",
    "signed": "int", "integer": "int", "uint": "uint", "u": "uint", "unsigned": "uint", "float": "float", "f": "float",
    "floating": "float", "double": "float", "ieee": "float",
    "mulaw": "mulaw", "ulaw": "mulaw", "pcmu": "mulaw", "g711u": "mulaw", "g711mu": "mulaw", "mu": "mulaw",
    "alaw": "alaw", "pcma": "alaw", "g711a": "alaw",
    "3": "float", "6": "alaw", "7": "mulaw",  # WAV's own numbers, as `codecs=` has them
}  # fmt: skip
_COUNTS = {"mono": 1, "stereo": 2}
_ORDERS = {"le": False, "little": False, "lsb": False, "be": True, "big": True, "msb": True, "network": True}
_ADDS_NOTHING = frozenset({
    "pcm", "lpcm", "linearpcm", "raw", "headerless", "wav", "wave", "vnd", "riff", "audio", "x", "bit", "bits", "byte",
    "endian", "point", "sample", "samples", "law", "encoding", "format", "codec", "string", "interleaved", "layout",
    "g711", "1", "base64",
})  # fmt: skip
_CONTAINER_WORDS = frozenset({
    "mp3", "mpeg", "mpga", "aac", "opus", "ogg", "vorbis", "flac", "m4a", "mp4", "webm", "aiff", "au", "caf", "amr",
})  # fmt: skip


@dataclass(slots=True)
class Stated:
    """What was said, fact by fact: by whom, and what."""

    said: dict[Fact, list[tuple[str, _Value]]] = field(default_factory=dict)
    packed: dict[str, str] = field(default_factory=dict)
    """Who named a compressed form or a file for a body, and which."""
    unread: list[str] = field(default_factory=list)
    """Names of forms that are unknown. A body that says itself what it is needs none (`codecs="mp4a.40.2"`)."""

    def add(self, fact: Fact, where: str, value: _Value) -> None:
        """Note that `where` says so."""
        self.said.setdefault(fact, []).append((where, value))

    def one(self, fact: Fact) -> _Value | None:
        """Return the one value that is said, or None where nobody says anything.

        Raises:
            TakeFault: `wrong_rate` or `wrong_form`: two that differ.
        """
        values = self.said.get(fact, [])
        if len({value for _, value in values}) > 1:
            told = ", ".join(f"{where} says {_spell(fact, value)}" for where, value in values)
            raise TakeFault("wrong_rate" if fact == "rate_hz" else "wrong_form", told)
        return values[0][1] if values else None

    def rate_hz(self) -> int:
        """Return the rate that everybody who says one agrees on.

        Raises:
            TakeFault: `unknown_rate`, `wrong_rate`.
        """
        rate = self.one("rate_hz")
        if rate is None:
            raise TakeFault(
                "unknown_rate",
                "raw PCM and no sample rate in any header; state sample_rate_hz in the catalog entry",
            )
        if not LOWEST_RATE_HZ <= int(rate) <= HIGHEST_RATE_HZ:
            where = self.said["rate_hz"][0][0]
            raise TakeFault("wrong_rate", f"{where} says {rate} Hz, which is no rate of speech")
        return int(rate)

    def form(self) -> SampleForm:
        """Return how samples without a header are written: as said, else 16-bit, low byte first, one channel.

        Raises:
            TakeFault: `wrong_form`: statements that differ, that contradict one another or that cannot be read here.
        """
        if self.unread:
            raise TakeFault("wrong_form", self.unread[0])
        if self.packed:
            where, name = next(iter(self.packed.items()))
            raise TakeFault(
                "wrong_form", f"{where} says {name}, and the body does not begin as such a file does"
            )
        said, bits, channels = self.one("coding"), self.one("bits"), self.one("channels") or 1
        coding = cast(Coding, said or "int")
        if bits is None:
            bits = 32 if coding == "float" else 16 if coding == "int" else 8
        unsure = bits == 8 and said is None  # signed in one place, unsigned in the next
        if unsure or int(bits) not in WIDTHS[coding] or not 1 <= int(channels) <= 8:
            told = ", ".join(
                f"{where} says {_spell(fact, value)}"
                for fact, values in self.said.items()
                for where, value in values
            )
            raise TakeFault("wrong_form", f"{told}: samples of that form cannot be read here")
        return SampleForm(coding, int(bits), int(channels), bool(self.one("big_endian")))

    def check_header(self, form: SampleForm, name: str) -> None:
        """Hold what is said against the header of the body itself, which has all of it.

        Raises:
            TakeFault: `wrong_form`.
        """
        self.add("channels", name, form.channels)
        self.one("channels")
        if "bits" in self.said:
            self.add("bits", name, form.bits)
            self.one("bits")
        if "coding" in self.said:
            # Of 8 bits a WAV has unsigned ones, and everybody calls them PCM.
            self.add("coding", name, "int" if form.coding == "uint" else form.coding)
            self.one("coding")


def _spell(fact: Fact, value: _Value) -> str:
    if fact == "big_endian":
        return "high byte first" if value else "low byte first"
    return f"{value}{ {'rate_hz': ' Hz', 'channels': ' channels', 'bits': ' bits'}.get(fact, '') }"


def content_type(headers: Mapping[str, str]) -> str:
    """Return the content type without its parameters, in lower case; empty when there is none."""
    return re.split("[;,]", headers.get("content-type", ""), maxsplit=1)[0].strip().lower()


def read_stated(
    headers: Mapping[str, str],
    events: Iterable[tuple[str, object]] = (),
    *,
    entry_rate_hz: int | None = None,
    container: RawContainer | None = None,
) -> Stated:
    """Return all that is said of the samples of one answer.

    Args:
        headers: names in lower case; a header that came twice has its values joined by commas.
        events: names and values of fields beside the audio of server-sent events.
        entry_rate_hz: the rate that the catalog entry states.
        container: what the entry says of a body without a header.

    Raises:
        TakeFault: `wrong_rate` or `wrong_form`: a statement that cannot be read.
    """
    found = Stated()
    if container is not None:
        _read_words(found, "the catalog entry", _CONTAINERS[container])
    if entry_rate_hz is not None:
        found.add("rate_hz", "the catalog entry", entry_rate_hz)
    for name, value in headers.items():
        if name != "content-type" and not _NOT_OURS.match(_squash(name)):
            for part in value.split(","):
                _read_one(found, name, name, part)
    parameters = list(_parameters(headers))
    for name, value in parameters:
        _read_one(found, name, "content-type", value)
    kind = content_type(headers)
    if kind in CODED_TYPES:
        coding, *defaults = CODED_TYPES[kind].split()
        _read_words(found, "content-type", coding)
        if "rate_hz" not in found.said:
            for word in defaults:
                _read_words(found, kind, word)
    for name, other in events:
        if isinstance(other, str | int | float) and not isinstance(other, bool):
            _read_one(found, name, f"the event's {name}", str(other))
    return found


def _squash(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _parameters(headers: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for part in re.split("[;,]", headers.get("content-type", ""))[1:]:
        name, _, value = part.partition("=")
        yield name.strip(), _GSTREAMER_TYPE.sub("", value.strip().strip('"').lower())


def _read_one(found: Stated, name: str, where: str, text: str) -> None:
    """Add what the value of a header, a parameter or a field says, where its name is one of ours."""
    what = next((what for what, names in _OF_NAME if names.search(_squash(name))), None)
    text = text.strip().strip('"').lower()
    if what is None or not text:
        return
    if what == "words":
        _read_words(found, where, text)
    elif what == "order":
        order = next((_ORDERS[word] for word in _WORD.findall(text) if word in _ORDERS), None)
        if order is None:
            raise TakeFault("wrong_form", f"{where} says {text[:60]!r}, which is no order of bytes")
        found.add("big_endian", where, order)
    elif what == "channels" and text in _COUNTS:
        found.add("channels", where, _COUNTS[text])
    else:
        found.add("bits" if what == "width" else what, where, _read_number(what, where, text))


def _read_number(what: str, where: str, text: str) -> int:
    number = int(match[1]) if (match := _NUMBER.fullmatch(text)) else 0
    if not number and what == "rate_hz" and (match := _KILO.fullmatch(text)):
        number = round(float(match[1]) * 1000)
    if what == "width" and number <= 4:
        number *= 8  # bytes, as Python's wave module counts them
    if not number:
        kind = "wrong_rate" if what == "rate_hz" else "wrong_form"
        of = {"rate_hz": "rate", "channels": "number of channels"}.get(what, "width of a sample")
        raise TakeFault(kind, f"{where} says {text[:60]!r}, which is no {of}")
    return number


def _read_words(found: Stated, where: str, text: str) -> None:
    """Add what the name of a form says: `s16le`, `pcm_f32le`, `linear16`, `raw-24khz-16bit-mono-pcm`, `ulaw_8000`.

    What is the name of none that is known is kept as unread.
    """
    plain = re.sub(
        r"\b(mu|u|a)[ _-]law\b", r"\1law", text.lower().replace("\u03bc", "u").replace("g.711", "g711")
    )
    plain = re.sub(r"(\d)[ _-]+(bits?|k?hz)\b", r"\1\2", plain)
    unknown = [word for word in _WORD.findall(plain) if not _read_word(found, where, word)]
    if unknown or not _WORD.search(plain):
        found.unread.append(f"{where} says {text[:60]!r}, which is no form of samples that is known here")


def _read_word(found: Stated, where: str, word: str) -> bool:
    """Add what one word says; False where it is unknown."""
    if word in _COUNTS:
        found.add("channels", where, _COUNTS[word])
    elif word in _ORDERS:
        found.add("big_endian", where, _ORDERS[word])
    elif word in _CONTAINER_WORDS:
        found.packed[where] = word
    elif match := re.fullmatch(r"(\d+(?:\.\d+)?)khz", word):
        found.add("rate_hz", where, round(float(match[1]) * 1000))
    elif match := re.fullmatch(r"(\d{4,6})(?:hz)?", word):
        found.add("rate_hz", where, int(match[1]))
    elif match := re.fullmatch(r"(8|16|24|32|64)(?:bits?)?", word):
        found.add("bits", where, int(match[1]))
    elif word in _CODINGS and word not in ("i", "l", "s", "u", "f"):
        found.add("coding", where, _CODINGS[word])
        if word == "double":
            found.add("bits", where, 64)
    elif match := _PCM_WORD.fullmatch(word):
        name, bits, order = match.groups()
        if name not in ("pcm", "lpcm") and (len(name) > 1 or bits):
            found.add("coding", where, _CODINGS[name])
        elif bits is None:
            return word in _ADDS_NOTHING
        if bits is not None:
            if int(bits) not in (8, 16, 24, 32, 64):
                return False
            found.add("bits", where, int(bits))
        if order in _ORDERS:
            found.add("big_endian", where, _ORDERS[order])
    else:
        return word in _ADDS_NOTHING
    return True
