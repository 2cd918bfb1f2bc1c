"""What the page is sent of each clip: lossless, and of every clip that one pair may play the same number of bytes."""

import io
import threading
from collections.abc import Sequence

import soundfile as sf

from bench.audio.equal_flac import encode_together
from bench.listening.book import Book
from bench.listening.mapping import CLIPS, DIRECTORY, SealBroken
from bench.storage.digests import sha256_bytes

Group = tuple[int, str, str, str]


class ServedClips:
    """The clips of one or several books. Safe between threads.

    A group is compressed when the first of its clips is asked for, and kept in memory: a page asks for the next pairs
    while one listens, so that nobody waits for it, and a server is there at once, however many runs it serves.
    """

    def __init__(self, books: Sequence[Book]) -> None:
        """Find the groups."""
        self._books = books
        self._lock = threading.Lock()
        self._groups: dict[Group, list[str]] = {}
        self._of: dict[str, Group] = {}
        self._sha256: dict[str, str] = {}
        self._ready: dict[str, bytes] = {}
        for number, book in enumerate(books):
            for clip in book.sealed.clips:
                group: Group = (number, clip.role, clip.utterance_id, clip.channel)
                self._groups.setdefault(group, []).append(clip.file)
                self._of[clip.file] = group
                self._sha256[clip.file] = clip.sha256

    def read(self, file: str) -> bytes:
        """Return what is sent of a clip.

        Raises:
            SealBroken: it is not the one that was sealed any more.
        """
        with self._lock:
            if file not in self._ready:
                self._compress(self._of[file])
            return self._ready[file]

    def _compress(self, group: Group) -> None:
        files = self._groups[group]
        folder = self._books[group[0]].run_dir / DIRECTORY / CLIPS
        read = []
        for file in files:
            data = (folder / file).read_bytes()
            if sha256_bytes(data) != self._sha256[file]:
                raise SealBroken(f"{folder / file} was changed while it was rated; restore it.")
            read.append(sf.read(io.BytesIO(data), dtype="int16"))
        made = encode_together([samples for samples, _ in read], read[0][1])
        self._ready.update(zip(files, made, strict=True))
