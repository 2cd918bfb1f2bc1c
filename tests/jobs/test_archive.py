"""Tars from the other side: what they may hold, how long they may become, and who may read what came of them."""

import io
import os
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.errors import AuditionError
from bench.jobs import archive
from bench.jobs.archive import pack, unpack


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=["umask 0", "umask 022", "umask 077"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _tar(path: Path, *members: tuple[tarfile.TarInfo | str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for given, data in members:
            member = tarfile.TarInfo(given) if isinstance(given, str) else given
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def _refused(tar: Path, folder: Path, size: int | None = None) -> str:
    with pytest.raises(AuditionError) as refused:
        unpack(tar, folder, size)
    assert not [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size]
    return str(refused.value)


def test_what_was_packed_is_for_its_owner_alone(tmp_path: Path, umask: int) -> None:
    (tmp_path / "made/candidate").mkdir(parents=True)
    for name in ("reference.wav", "candidate/u1.wav"):
        (tmp_path / "made" / name).write_bytes(b"a voice")
        (tmp_path / "made" / name).chmod(0o666)
    size = pack(tmp_path / "made", tmp_path / "sent.tar")
    assert _mode(tmp_path / "sent.tar") == 0o600
    unpack(tmp_path / "sent.tar", tmp_path / "below/job", size)
    for folder in ("below", "below/job", "below/job/candidate"):
        assert _mode(tmp_path / folder) == 0o700, folder
    for name in ("reference.wav", "candidate/u1.wav"):
        assert (tmp_path / "below/job" / name).read_bytes() == b"a voice"
        assert _mode(tmp_path / "below/job" / name) == 0o600, name


def test_code_is_left_as_the_umask_would(tmp_path: Path, umask: int) -> None:
    tar = _tar(tmp_path / "code.tar", ("bench/a.py", b"pass"))
    unpack(tar, tmp_path / "code", private=False)
    assert _mode(tmp_path / "code/bench") == 0o777 & ~umask
    assert _mode(tmp_path / "code/bench/a.py") == 0o666 & ~umask


@pytest.mark.parametrize("how", ["gz", "bz2", "xz"])
def test_a_compressed_tar_is_refused_however_small(tmp_path: Path, how: str) -> None:
    tar = _tar(tmp_path / "bomb.tar", ("zeros", bytes(30_000_000)), mode=f"w:{how}")
    assert tar.stat().st_size < 50_000
    assert "bomb.tar did not arrive whole" in _refused(tar, tmp_path / "in")


def test_a_sparse_file_is_no_plain_one(tmp_path: Path) -> None:
    # GNU's old format: one block of data, said to be a gigabyte long.
    member = tarfile.TarInfo("hole")
    member.type, member.size = tarfile.GNUTYPE_SPARSE, 512
    block = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    block[386:398], block[398:410] = b"00000000000\0", b"00000001000\0"
    block[483:495] = b"10000000000\0"
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "sparse.tar").write_bytes(bytes(block) + bytes(512) + bytes(1024))
    with tarfile.open(tmp_path / "sparse.tar") as tar:
        assert [(each.size, each.issparse()) for each in tar] == [(1 << 30, True)]
    assert "no plain file" in _refused(tmp_path / "sparse.tar", tmp_path / "in")


@pytest.mark.parametrize("places", ["0,512", "x,y"], ids=["a gigabyte", "no numbers"])
def test_nor_is_one_by_a_header_of_its_own(tmp_path: Path, places: str) -> None:
    member = tarfile.TarInfo("hole")
    member.pax_headers = {"GNU.sparse.map": places, "GNU.sparse.size": str(1 << 30)}
    tar = _tar(tmp_path / "sparse.tar", (member, bytes(512)))
    assert ("no plain file" if places == "0,512" else "whole") in _refused(tar, tmp_path / "in")


def test_a_file_that_is_there_already_is_closed_too(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_text("before")
    (tmp_path / "in/a").chmod(0o666)
    unpack(_tar(tmp_path / "a.tar", ("a", b"now")), tmp_path / "in")
    assert ((tmp_path / "in/a").read_text(), _mode(tmp_path / "in/a")) == ("now", 0o600)


@pytest.mark.parametrize("off", [-1, 1])
def test_a_tar_of_another_size_than_was_said_did_not_arrive_whole(tmp_path: Path, off: int) -> None:
    tar = _tar(tmp_path / "out.tar", ("a", b"1"))
    size = tar.stat().st_size
    assert f"{size} bytes and {size + off} were sent" in _refused(tar, tmp_path / "in", size + off)
    unpack(tar, tmp_path / "in", size)


def test_a_tar_that_was_cut_did_not_arrive_whole(tmp_path: Path) -> None:
    tar = _tar(tmp_path / "out.tar", ("a.wav", b"1" * 5000))
    tar.write_bytes(tar.read_bytes()[:2000])
    with pytest.raises(AuditionError, match="did not arrive whole"):
        unpack(tar, tmp_path / "in")


def test_nothing_is_there_twice_and_there_is_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = _tar(tmp_path / "twice.tar", ("a", b""), ("./a", b"2"))
    assert "'./a' twice" in _refused(twice, tmp_path / "in")
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    many = _tar(tmp_path / "many.tar", *((f"f{n}", b"") for n in range(4)))
    assert "more than 3 files" in _refused(many, tmp_path / "in")


@pytest.mark.parametrize(
    "names",
    [("a", "a/b"), ("a/b", "a"), ("x" * 300,), ("",), (".",), ("a\0b", "a")],
    ids=["below a file", "over a folder", "long", "none", "the folder itself", "nul"],
)
def test_what_has_no_place_is_refused_in_a_sentence(tmp_path: Path, names: tuple[str, ...]) -> None:
    tar = _tar(tmp_path / "odd.tar", *((name, b"") for name in names))
    try:
        unpack(tar, tmp_path / "in")
    except AuditionError as refused:
        assert "not unpacked" in str(refused)
    else:
        assert names == ("a\0b", "a") and [path.name for path in (tmp_path / "in").iterdir()] == ["a"]


def test_a_link_that_lies_there_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "in/a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AuditionError, match="has no place"):
        unpack(_tar(tmp_path / "a.tar", ("a", b"theirs")), tmp_path / "in")
    assert (tmp_path / "elsewhere").read_text() == "mine"


def _whole() -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        pax = tarfile.TarInfo("pass/" + "é" * 120)
        tar = _tar(Path(scratch) / "t.tar", ("a.wav", b"1" * 700), (pax, b"2" * 30), ("c/d", b""))
        return tar.read_bytes()


WHOLE = _whole()
_PAX_SIZE = WHOLE.replace(b" path=", b" size=", 1)


@settings(max_examples=150, deadline=None)
@example(edits=[], end=len(WHOLE), base=_PAX_SIZE)
@example(edits=[(124, 0x80)], end=len(WHOLE), base=WHOLE)
@example(edits=[(124, 0xFF)], end=len(WHOLE), base=WHOLE)
@given(
    edits=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=6),
    end=st.integers(0, len(WHOLE)),
    base=st.sampled_from([WHOLE, _PAX_SIZE]),
)
def test_whatever_arrives_is_unpacked_inside_or_refused_in_a_sentence(
    edits: list[tuple[int, int]], end: int, base: bytes
) -> None:
    data = bytearray(base[:end])
    for at, value in edits:
        if at < len(data):
            data[at] = value
            block = at // 512 * 512
            if len(data) >= block + 512:  # a header whose sum is wrong is not even read
                data[block + 148 : block + 156] = b"        "
                data[block + 148 : block + 156] = b"%06o\0 " % (sum(data[block : block + 512]) & 0o777777)
    with tempfile.TemporaryDirectory() as scratch:
        tar, folder = Path(scratch) / "t.tar", Path(scratch) / "in"
        tar.write_bytes(data)
        try:
            unpack(tar, folder, len(data))
        except AuditionError as refused:
            assert "Traceback" not in str(refused)
        assert {path.name for path in Path(scratch).iterdir()} == {"t.tar", "in"}
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        assert sum(sizes) <= len(data)
