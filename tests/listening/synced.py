"""What a disk would hold if the power failed: replaying a trace of system calls without the unsynced writes.

`strace -f -y -xx` writes each call with the bytes and the file's path. A write counts from the fsync or fdatasync
of its file that completed after it; a file's name from an fsync of its directory. This is stricter than a real
disk, which may keep more.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

CALL = re.compile(r"^(?P<pid>\d+)\s+(?P<rest>.*)$")
RESUMED = re.compile(r"^<\.\.\. (?P<name>\w+) resumed>(?P<tail>.*)$")
FD = re.compile(r"^(?P<name>\w+)\((?P<fd>\d+)<(?P<target>[^>]*)>(?P<args>.*)$", re.DOTALL)
BYTES = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
RESULT = re.compile(r"\)\s+= (-?\d+)")


def decoded(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def path_of(target: str) -> str:
    """strace -xx writes the path in hex too."""
    return decoded(target).decode() if target.startswith("\\x") else target


@dataclass
class Disk:
    """The durable bytes of the files under a directory."""

    home: Path
    files: dict[str, bytearray]
    named: set[str]
    pending: dict[str, list[tuple[int, bytes | None]]] = field(default_factory=dict)

    @classmethod
    def of(cls, home: Path) -> "Disk":
        files = {str(path): bytearray(path.read_bytes()) for path in home.iterdir() if path.is_file()}
        return cls(home, files, set(files))

    def call(self, name: str, target: str, args: str) -> None:
        """Take in one completed call."""
        path = path_of(target)
        if not path.startswith(str(self.home)):
            return
        if name == "pwrite64":
            found = BYTES.search(args)
            assert found, args[:200]
            offset = int(args[found.end() :].split(",")[2].split(")")[0])
            self.pending.setdefault(path, []).append((offset, decoded(found.group(1))))
        elif name == "ftruncate":
            self.pending.setdefault(path, []).append((int(args.split(",")[1].split(")")[0]), None))
        elif name in ("fsync", "fdatasync"):
            if path == str(self.home):
                self.named |= set(self.pending) | set(self.files)
            self._sync(path)

    def _sync(self, path: str) -> None:
        data = self.files.setdefault(path, bytearray())
        for offset, piece in self.pending.pop(path, []):
            if piece is None:
                del data[offset:]
                data.extend(bytes(max(0, offset - len(data))))
            else:
                data.extend(bytes(max(0, offset + len(piece) - len(data))))
                data[offset : offset + len(piece)] = piece

    def restore(self, into: Path) -> None:
        """Write what survived. The shared-memory index is rebuilt from the log and is never durable."""
        into.mkdir()
        for path, data in self.files.items():
            if path in self.named and not path.endswith("-shm"):
                (into / Path(path).name).write_bytes(data)


def calls(trace: Path) -> "list[tuple[str, str, str, str]]":
    """Return (moment, name, target, args) with moment `start` or `end`, in the order of the trace."""
    out: list[tuple[str, str, str, str]] = []
    begun: dict[str, tuple[str, str, str]] = {}
    for line in trace.read_text("ascii", "replace").splitlines():
        split = CALL.match(line)
        if not split:
            continue
        pid, rest = split["pid"], split["rest"]
        resumed = RESUMED.match(rest)
        if resumed:
            if pid in begun:
                name, target, args = begun.pop(pid)
                _ended(out, name, target, args, resumed["tail"])
            continue
        call = FD.match(rest)
        if not call:
            continue
        name, target, args = call["name"], call["target"], call["args"]
        out.append(("start", name, target, args))
        if args.endswith("<unfinished ...>"):
            begun[pid] = (name, target, args)
        else:
            _ended(out, name, target, args, args)
    return out


def _ended(out: list[tuple[str, str, str, str]], name: str, target: str, args: str, tail: str) -> None:
    result = RESULT.search(tail)
    if result and int(result.group(1)) >= 0:
        out.append(("end", name, target, args))
