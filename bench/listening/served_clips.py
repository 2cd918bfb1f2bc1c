"""What the page is sent of each clip: lossless, and of every clip that one pair may play the same number of bytes."""

import io
import threading
from collections.abc import Sequence

import soundfile as sf

from bench.audio.equal_flac import encode_together
from bench.listening.book import Book
from bench.listening.mapping import CLIPS, DIRECTORY

Group = tuple[int, str, str, str]


class ServedClips:
    """The clips of one or several books, in memory. Safe between threads.

    Those of the rule's channel, which every rater hears, are compressed at once; another channel's when the first of a
    group is asked for, and then the whole group.
    """

    def __init__(self, books: Sequence[Book]) -> None:
        """Read them."""
        self._books = books
        self._lock = threading.Lock()
        self._groups: dict[Group, list[str]] = {}
        self._of: dict[str, Group] = {}
        self._ready: dict[str, bytes] = {}
        for number, book in enumerate(books):
            for clip in book.sealed.clips:
                group: Group = (number, clip.role, clip.utterance_id, clip.channel)
                self._groups.setdefault(group, []).append(clip.file)
                self._of[clip.file] = group
        for each in self._groups:
            if each[3] == books[each[0]].sealed.channels[0]:
                self._compress(each)

    def read(self, file: str) -> bytes:
        """Return what is sent of a clip."""
        with self._lock:
            if file not in self._ready:
                self._compress(self._of[file])
            return self._ready[file]

    def _compress(self, group: Group) -> None:
        files = self._groups[group]
        folder = self._books[group[0]].run_dir / DIRECTORY / CLIPS
        read = [sf.read(io.BytesIO((folder / file).read_bytes()), dtype="int16") for file in files]
        made = encode_together([samples for samples, _ in read], read[0][1])
        self._ready.update(zip(files, made, strict=True))
