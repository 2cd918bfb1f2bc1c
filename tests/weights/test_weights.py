"""The weights store, by the real huggingface_hub client against a local server of its protocol."""

import hashlib
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.catalog.entry import WeightFile
from bench.errors import AuditionError, BadInput, DiskFull
from bench.install.weights import weights_step
from bench.jobs.control import Control
from bench.jobs.follow import follow
from bench.weights import hub as hub_of
from bench.weights import store as store_of
from bench.weights.store import HubError, WrongHash, ensure, list_missing, path_of
from tests.support.disks import mounted
from tests.support.hub import SIGNATURE, Hub
from tests.support.pace import limit

REPO, REVISION = "maker/voice", "ab" * 20
SMALL, BIG = "config.json", "sub/model.safetensors"
CHUNK = 10 * 1024 * 1024
"""The client hands on 10 MiB at a time, so a broken connection loses at most that."""

_big = random.Random(5).randbytes(CHUNK * 2 + 4321)
FILES = {REPO: {REVISION: {SMALL: b'{"sample_rate": 24000}\n', BIG: _big}}}


def _file(name: str, *, known: bool = True, **changes: object) -> WeightFile:
    data = FILES[REPO][REVISION][name]
    facts = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} if known else {}
    return WeightFile.model_validate({"repo": REPO, "revision": REVISION, "path": name} | facts | changes)


BOTH = [_file(SMALL), _file(BIG)]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's settings, and no way out of it."""
    for name in (
        "HF_TOKEN",
        "HF_ENDPOINT",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
        "NO_PROXY",
        "no_proxy",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(FILES) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "weights"


def _ensure(weights: list[WeightFile], store: Path, hub: Hub, **options: Any) -> store_of.WeightsReport:
    return ensure(weights, store, endpoint=hub.url, **({"margin_bytes": 0} | options))


def test_everybody_may_read_the_store_whatever_the_umask(hub: Hub, store: Path) -> None:
    before = os.umask(0o077)
    try:
        _ensure(BOTH, store, hub)
    finally:
        os.umask(before)
    place = path_of(store, BOTH[1])
    for path in (store, *(one for one in place.parents if store in one.parents)):
        assert path.stat().st_mode & 0o555 == 0o555, path
    assert place.stat().st_mode & 0o777 == 0o444


def _weights_job(folder: Path, store: Path, hub: Hub) -> dict[str, Any]:
    folder.mkdir()
    weights = [file.model_dump(mode="json") for file in BOTH]
    return {
        "weights": weights, "store": str(store), "endpoint": hub.url, "token_file": None, "margin_gib": 0.0,
        "rehash": False, "job_dir": str(folder),
    }  # fmt: skip


def test_a_followed_download_says_how_far_it_is(hub: Hub, store: Path, tmp_path: Path) -> None:
    assert weights_step(_weights_job(tmp_path / "job", store, hub), check=False)["changed"]
    said = follow(tmp_path / "job", 0)
    assert said["lines"][-1] == f"weights | {REPO}/{BIG} | 20.00 MiB of 20.00 MiB"
    assert not said["running"]


def test_a_download_past_its_limit_says_so_and_keeps_what_arrived(
    hub: Hub, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Control, "reason", lambda _: "it was not done within 1 s (weights_timeout_s)")
    result = weights_step(_weights_job(tmp_path / "job", store, hub), check=False)
    assert result["failed"] and "weights_timeout_s" in result["msg"] and "is kept" in result["msg"]
    assert result["fault"] == "host"
    assert list((store / "partial").rglob("*.*"))


@pytest.mark.slow
def test_a_download_that_waits_for_a_silent_hub_ends_when_nobody_follows_it(
    hub: Hub, store: Path, tmp_path: Path
) -> None:
    hub.faults.stall_after[BIG] = 1000
    params = _weights_job(tmp_path / "job", store, hub)
    script = (
        "import json, sys; from bench.jobs import control; control.HEARTBEAT_LIMIT_S = 1.0;"
        "from bench.install.weights import weights_step;"
        "weights_step(json.loads(sys.argv[1]), check=False)"
    )
    begun = time.monotonic()
    environment = os.environ | {"HF_HUB_DOWNLOAD_TIMEOUT": "600"}
    done = subprocess.run([sys.executable, "-c", script, json.dumps(params)], env=environment, check=False)
    assert (done.returncode, time.monotonic() - begun < limit(120)) == (1, True)
    assert not (tmp_path / "job").exists()


def test_no_other_hub_is_told_of_it(hub: Hub, store: Path, tmp_path: Path) -> None:
    """The client asks HF_ENDPOINT for its telemetry, whatever endpoint it was given."""
    script = (
        "import sys; from pathlib import Path; from bench.catalog.entry import WeightFile;"
        "from bench.weights.store import ensure;"
        "ensure([WeightFile.model_validate_json(sys.argv[1])], Path(sys.argv[2]), endpoint=sys.argv[3])"
    )
    with Hub({}) as other:
        done = subprocess.run(
            [sys.executable, "-c", script, _file(SMALL).model_dump_json(), str(store), hub.url],
            env=os.environ | {"HF_ENDPOINT": other.url, "HF_HOME": str(tmp_path / "home"), "AGENT": "x"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (other.connections, {asked.path for asked in hub.requests}) == (0, {SMALL})


def test_files_are_fetched_verified_and_put_in_place(hub: Hub, store: Path) -> None:
    report = _ensure(BOTH, store, hub)
    assert report.changed and report.bytes_downloaded == sum(
        len(one) for one in FILES[REPO][REVISION].values()
    )
    assert [(one.path, one.status, one.first_sight) for one in report.files] == [
        (SMALL, "downloaded", False),
        (BIG, "downloaded", False),
    ]
    for name, data in FILES[REPO][REVISION].items():
        path = store / "maker--voice" / REVISION / name
        assert path == path_of(store, _file(name))
        assert path.read_bytes() == data
        assert path.stat().st_mode & 0o777 == 0o444
    assert not list((store / "partial").rglob("*.*"))


def test_a_second_run_makes_no_request_at_all(hub: Hub, store: Path) -> None:
    _ensure(BOTH, store, hub)
    with Hub(FILES) as untouched:
        report = _ensure(BOTH, store, untouched)
        assert untouched.connections == 0
    assert not report.changed and report.bytes_downloaded == 0
    assert {one.status for one in report.files} == {"present"}
    assert list_missing(BOTH, store) == []


def test_no_hub_is_needed_when_all_is_there(hub: Hub, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _ensure(BOTH, store, hub)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert not ensure(BOTH, store, endpoint="http://127.0.0.1:9").changed


@pytest.mark.slow
def test_cut_connections_go_on_where_they_broke(hub: Hub, store: Path) -> None:
    hub.faults.cut_after[BIG] = [CHUNK + 999, CHUNK // 2]
    report = _ensure([_file(BIG)], store, hub)
    assert path_of(store, _file(BIG)).read_bytes() == _big
    assert [one.range for one in hub.gets(BIG)] == [None, f"bytes={CHUNK}-", f"bytes={CHUNK}-"]
    assert report.bytes_downloaded == len(_big)


def _killed_in_mid_download(hub: Hub, store: Path) -> None:
    """Start a process that fetches, and kill it hard once 10 MiB lie on disk."""
    hub.faults.stall_after[BIG] = CHUNK + 5000
    code = (
        "import sys, json; from pathlib import Path; from bench.catalog.entry import WeightFile; "
        "from bench.weights.store import ensure; "
        "ensure([WeightFile(**json.loads(sys.argv[1]))], Path(sys.argv[2]), endpoint=sys.argv[3], "
        "margin_bytes=0)"
    )
    environment = os.environ | {"HF_HUB_DOWNLOAD_TIMEOUT": "60"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, _file(BIG).model_dump_json(), str(store), hub.url], env=environment
    )
    try:
        deadline = time.monotonic() + 60
        while not any(
            one.stat().st_size >= CHUNK for one in (store / "partial").rglob("model.safetensors.*")
        ):
            assert process.poll() is None, "the download ended by itself"
            assert time.monotonic() < deadline, "nothing arrived"
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    del hub.faults.stall_after[BIG]


def test_a_killed_download_is_resumed_by_the_next_run(hub: Hub, store: Path) -> None:
    _killed_in_mid_download(hub, store)
    assert not path_of(store, _file(BIG)).exists()
    report = _ensure([_file(BIG)], store, hub)
    assert report.files[0].status == "resumed"
    assert report.bytes_downloaded == len(_big) - CHUNK
    assert hub.gets(BIG)[-1].range == f"bytes={CHUNK}-"
    assert path_of(store, _file(BIG)).read_bytes() == _big


@pytest.mark.slow
def test_a_hub_that_ignores_ranges_sends_the_whole_again(hub: Hub, store: Path) -> None:
    hub.faults.cut_after[BIG] = [CHUNK + 999]
    hub.faults.ignore_range.add(BIG)
    _ensure([_file(BIG)], store, hub)
    assert path_of(store, _file(BIG)).read_bytes() == _big


def test_a_partial_file_that_was_damaged_is_fetched_anew(hub: Hub, store: Path) -> None:
    _killed_in_mid_download(hub, store)
    (partial,) = (store / "partial").rglob("model.safetensors.*")
    partial.write_bytes(bytes(CHUNK))
    _ensure([_file(BIG)], store, hub)
    assert path_of(store, _file(BIG)).read_bytes() == _big
    assert hub.gets(BIG)[-1].range is None


def test_what_arrived_of_another_version_is_not_mixed_in(hub: Hub, store: Path) -> None:
    home = path_of(store / "partial", _file(BIG))
    home.parent.mkdir(parents=True)
    stale = home.with_name(f"{home.name}.{'0' * 16}")
    stale.write_bytes(b"of another ETag")
    _ensure([_file(BIG)], store, hub)
    assert hub.gets(BIG)[0].range is None
    assert not stale.exists()


def test_wrong_bytes_are_quarantined_and_named(hub: Hub, store: Path) -> None:
    hub.faults.corrupt.add(BIG)
    with pytest.raises(WrongHash) as caught:
        _ensure(BOTH, store, hub)
    expected = _file(BIG).sha256
    (kept,) = (path for path in (store / "quarantine").rglob("*") if path.is_file())
    assert all(part in str(caught.value) for part in (BIG, str(expected), str(kept)))
    assert hashlib.sha256(kept.read_bytes()).hexdigest()[:16] in kept.name
    assert not path_of(store, _file(BIG)).exists()
    assert path_of(store, _file(SMALL)).exists()
    hub.faults.corrupt.clear()
    report = _ensure(BOTH, store, hub)
    assert [one.status for one in report.files] == ["present", "downloaded"]


def test_only_the_last_wrong_file_is_kept(hub: Hub, store: Path) -> None:
    for wrong in ("0" * 64, "1" * 64):
        with pytest.raises(WrongHash):
            _ensure([_file(SMALL, sha256=wrong)], store, hub)
    assert len([path for path in (store / "quarantine").rglob("*") if path.is_file()]) == 1


def test_a_size_the_catalog_does_not_know_the_hub_by_is_refused_before_the_fetch(
    hub: Hub, store: Path
) -> None:
    with pytest.raises(WrongHash, match="nothing was fetched"):
        _ensure([_file(BIG, bytes=7)], store, hub)
    assert hub.gets(BIG) == []


def test_another_revision_is_refused(hub: Hub, store: Path) -> None:
    hub.faults.commit[SMALL] = "cd" * 20
    with pytest.raises(HubError, match="is pinned"):
        _ensure([_file(SMALL)], store, hub)


def _nothing_kept(store: Path, name: str = SMALL) -> bool:
    return not [path for path in store.rglob(f"{Path(name).name}*") if path.is_file()]


@pytest.mark.parametrize("known", [True, False], ids=["pinned", "unpinned"])
def test_no_more_is_written_than_a_file_is_to_have(hub: Hub, store: Path, known: bool) -> None:
    hub.faults.endless[SMALL] = 30_000_000
    if not known:
        hub.faults.stated[SMALL] = len(FILES[REPO][REVISION][SMALL])
        hub.faults.endless.clear()
        hub.files = {REPO: {REVISION: {SMALL: bytes(90_000)}}}
    with pytest.raises(HubError, match=r"bytes came, the most that it may have") as refused:
        _ensure([_file(SMALL, known=known)], store, hub)
    assert f"more than {len(FILES[REPO][REVISION][SMALL])} bytes" in str(refused.value)
    assert _nothing_kept(store)


def test_a_bomb_is_written_no_further_than_the_file_is_long(hub: Hub, store: Path) -> None:
    hub.faults.zipped.add(SMALL)
    hub.faults.endless[SMALL] = 60_000_000
    with pytest.raises(HubError, match=r"bytes came, the most that it may have"):
        _ensure([_file(SMALL)], store, hub)
    assert _nothing_kept(store)


def test_a_file_that_nobody_measured_is_not_taken_for_whole(hub: Hub, store: Path) -> None:
    hub.faults.unmeasured.add(SMALL)
    hub.faults.cut_after[SMALL] = [5]
    with pytest.raises(HubError, match="nobody could tell that it is whole"):
        _ensure([_file(SMALL, known=False)], store, hub)
    assert hub.gets(SMALL) == [] and _nothing_kept(store)


@pytest.mark.slow
def test_a_file_that_the_catalog_alone_measures_is_whole_or_resumed(hub: Hub, store: Path) -> None:
    hub.faults.unmeasured.add(SMALL)
    hub.faults.cut_after[SMALL] = [5]
    with pytest.raises(HubError, match="could not be fetched"):
        _ensure([_file(SMALL)], store, hub)
    assert not path_of(store, _file(SMALL)).exists()
    assert _ensure([_file(SMALL)], store, hub).files[0].status == "resumed"
    assert path_of(store, _file(SMALL)).read_bytes() == FILES[REPO][REVISION][SMALL]


@pytest.mark.parametrize("stated", [True, False], ids=["as the hub states it", "unmeasured"])
def test_words_that_nobody_pinned_have_a_limit_whatever_a_hub_states(
    hub: Hub, store: Path, monkeypatch: pytest.MonkeyPatch, stated: bool
) -> None:
    monkeypatch.setattr(hub_of, "UNSTATED_BYTES", 1000)
    data = b"#" * 5000
    hub.files = {REPO: {REVISION: {"README.md": data}}}
    card = _file(SMALL, known=False, path="README.md")
    if not stated:
        hub.faults.unmeasured.add("README.md")
        card = card.model_copy(update={"sha256": hashlib.sha256(data).hexdigest()})
    with pytest.raises(HubError, match="more than 1000 bytes came"):
        _ensure([card], store, hub)
    assert _nothing_kept(store, "README.md")


@pytest.mark.parametrize("lacking", ["bytes", "sha256"])
def test_what_can_name_code_is_not_even_asked_for_unpinned(hub: Hub, store: Path, lacking: str) -> None:
    with pytest.raises(BadInput, match=f"{REPO}/sub/model.bin can name code"):
        _ensure(
            [_file(SMALL), _file(BIG, path="sub/model.bin").model_copy(update={lacking: None})], store, hub
        )
    assert hub.connections == 0 and not store.exists()


def test_an_unknown_hash_is_recorded_at_first_sight_and_held_to(hub: Hub, store: Path) -> None:
    unknown = _file(SMALL, known=False)
    report = _ensure([unknown], store, hub)
    assert report.files[0].first_sight
    known = json.loads((store / "known.json").read_text())["files"][f"{REPO}@{REVISION}/{SMALL}"]
    assert (known["sha256"], known["source"]) == (_file(SMALL).sha256, "first sight")
    assert not _ensure([unknown], store, hub).changed
    path_of(store, unknown).unlink()
    hub.faults.corrupt.add(SMALL)
    with pytest.raises(WrongHash, match="as first seen"):
        _ensure([unknown], store, hub)
    hub.faults.corrupt.clear()
    again = _ensure([unknown], store, hub)
    assert again.changed and not again.files[0].first_sight


def test_the_catalogs_hash_overrules_what_was_first_seen(hub: Hub, store: Path) -> None:
    _ensure([_file(SMALL, known=False)], store, hub)
    with pytest.raises(WrongHash, match="from the catalog"):
        _ensure([_file(SMALL, sha256="9" * 64)], store, hub)
    assert not path_of(store, _file(SMALL)).exists()


def test_a_file_that_changed_in_the_store_is_found_and_replaced(hub: Hub, store: Path) -> None:
    _ensure(BOTH, store, hub)
    path = path_of(store, _file(SMALL))
    path.chmod(0o644)
    path.write_bytes(b"tampered with")
    assert [one.path for one in list_missing(BOTH, store)] == [SMALL]
    report = _ensure(BOTH, store, hub)
    assert [one.status for one in report.files] == ["downloaded", "present"]
    assert path.read_bytes() == FILES[REPO][REVISION][SMALL]
    assert list((store / "quarantine").rglob(f"{SMALL}.*"))


def test_rehash_finds_what_size_and_time_hide(hub: Hub, store: Path) -> None:
    _ensure(BOTH, store, hub)
    path = path_of(store, _file(SMALL))
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"X" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not _ensure(BOTH, store, hub).changed
    assert _ensure(BOTH, store, hub, rehash=True).changed


def test_files_that_were_copied_in_are_verified_without_a_request(store: Path) -> None:
    """A store carried to a host without network: put the files in their places, and nothing is asked."""
    for file in BOTH:
        path_of(store, file).parent.mkdir(parents=True, exist_ok=True)
        path_of(store, file).write_bytes(FILES[REPO][REVISION][file.path])
    with Hub(FILES) as untouched:
        assert not _ensure(BOTH, store, untouched).changed
        assert untouched.connections == 0


def test_401_says_how_to_give_a_token_and_the_token_works(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hub(FILES, token="hf_abcdefSECRET") as gated:
        with pytest.raises(HubError, match=r"401.*No token was sent.*HF_TOKEN"):
            _ensure(BOTH, store, gated)
        monkeypatch.setenv("HF_TOKEN", "hf_wrongSECRET")
        with pytest.raises(HubError, match="not enough") as caught:
            _ensure(BOTH, store, gated)
        assert "SECRET" not in str(caught.value)
        secret = tmp_path / "token"
        secret.write_text("hf_abcdefSECRET\n")
        assert _ensure(BOTH, store, gated, token_file=secret).changed
        assert {one.server for one in gated.requests if one.authorization} == {"hub"}
        assert any(one.server == "cdn" for one in gated.requests)


@pytest.mark.slow
def test_the_token_is_neither_stored_nor_logged(
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefSECRET")
    caplog.set_level(logging.DEBUG)
    with Hub(FILES, token="hf_abcdefSECRET") as gated:
        gated.faults.cut_after[BIG] = [1000]
        report = _ensure(BOTH, store, gated)
    shown = capfd.readouterr()
    said = shown.out + shown.err + json.dumps(report.as_dict())
    said += "".join(
        record.getMessage() for record in caplog.records if record.name.startswith("huggingface_hub")
    )
    assert "SECRET" not in said and SIGNATURE not in said
    for path in store.rglob("*"):
        if path.is_file():
            assert b"SECRET" not in path.read_bytes() and SIGNATURE.encode() not in path.read_bytes()


def test_a_hub_that_says_the_token_back_has_it_in_no_message(
    hub: Hub, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefSECRET")
    hub.faults.commit[SMALL] = "for-hf_abcdefSECR"
    with pytest.raises(HubError, match=r"answered for revision for-\[token\], and"):
        _ensure([_file(SMALL)], store, hub)


@pytest.mark.parametrize(
    ("url", "sent"),
    [("https://hub.test/f", True), ("https://cdn.test/f", False), ("http://hub.test/f", False)],
)
def test_the_token_goes_to_the_hub_alone(
    store: Path, monkeypatch: pytest.MonkeyPatch, url: str, sent: bool
) -> None:
    asked: list[dict[str, str]] = []

    def http_get(*_: object, headers: dict[str, str], **__: object) -> None:
        asked.append(headers)

    monkeypatch.setattr("huggingface_hub.file_download.http_get", http_get)
    it = hub_of.Hub("https://hub.test", "hf_secret")
    it.fetch(_file(SMALL), hub_of.Found(url, "tag", 1), store / "partial", None)
    assert ["authorization" in headers for headers in asked] == [sent]


@pytest.mark.parametrize("content", ["", "two words", "hf_x\nhf_y", "naïve"])
def test_a_token_file_holds_a_token(hub: Hub, store: Path, tmp_path: Path, content: str) -> None:
    secret = tmp_path / "token"
    secret.write_text(content)
    with pytest.raises(BadInput, match="token"):
        _ensure(BOTH, store, hub, token_file=secret)
    with pytest.raises(BadInput, match="cannot be read"):
        _ensure(BOTH, store, hub, token_file=tmp_path / "none")
    assert hub.connections == 0


@pytest.mark.parametrize(
    "changes", [{"path": "absent.json"}, {"revision": "cd" * 20}], ids=["no such file", "no such revision"]
)
def test_404_names_repo_revision_and_path(hub: Hub, store: Path, changes: dict[str, str]) -> None:
    wanted = _file(SMALL, known=False, **changes)
    with pytest.raises(HubError, match="404") as caught:
        _ensure([wanted], store, hub)
    assert all(part in str(caught.value) for part in (REPO, wanted.commit[:12], wanted.path))


def test_a_hub_that_is_down_is_named(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the client waits longer and longer between its tries
    with Hub(FILES) as gone:
        address = gone.url
    with pytest.raises(HubError, match="could not be fetched from") as caught:
        ensure([_file(SMALL)], store, endpoint=address, margin_bytes=0)
    assert address in str(caught.value)


def test_the_disk_is_checked_before_anything_is_asked(hub: Hub, store: Path) -> None:
    with pytest.raises(DiskFull, match="Nothing was fetched"):
        _ensure([_file(BIG, bytes=10**15)], store, hub)
    with pytest.raises(DiskFull, match="must stay free"):
        _ensure(BOTH, store, hub, margin_bytes=10**15)
    assert hub.connections == 0


def test_a_size_the_catalog_lacks_is_asked_before_the_fetch(hub: Hub, tmpfs: Path) -> None:
    with pytest.raises(DiskFull, match="Nothing was fetched"):
        _ensure([_file(BIG, bytes=None)], tmpfs / "weights", hub)
    assert {one.method for one in hub.requests} == {"HEAD"}


@pytest.fixture
def tmpfs(needs_root: None, tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB. Needs root, as the project's machine gives."""
    with mounted(tmp_path / "disk", "16m") as disk:
        yield disk


def test_what_arrived_of_another_file_makes_no_room_for_this_one(
    hub: Hub, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = path_of(store / "partial", _file(SMALL)).with_name(f"other.{'0' * 16}")
    other.parent.mkdir(parents=True)
    other.write_bytes(_big)
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=len(_big) - 1))
    with pytest.raises(DiskFull, match="Nothing was fetched"):
        _ensure([_file(BIG)], store, hub)


def test_a_full_store_is_used_though_it_cannot_be_written(hub: Hub, tmpfs: Path) -> None:
    _ensure([_file(SMALL)], tmpfs, hub)
    subprocess.run(["mount", "-o", "remount,ro", str(tmpfs)], check=True)
    report = _ensure([_file(SMALL)], tmpfs, hub)
    assert (report.changed, [one.status for one in report.files]) == (False, ["present"])


def test_a_store_of_somebody_elses_is_filled(hub: Hub, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.mkdir(mode=0o777)
    real = Path.chmod

    def chmod(self: Path, mode: int) -> None:
        if self == store:
            raise PermissionError(1, "Operation not permitted", str(self))
        real(self, mode)

    monkeypatch.setattr(Path, "chmod", chmod)
    assert _ensure([_file(SMALL)], store, hub).changed


def test_nothing_that_a_download_comes_to_tells_of_the_model(
    hub: Hub, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a host that lacks room or rights nor a hub that gives nothing, or other bytes, decides against one."""
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the client waits longer and longer between its tries

    def fault(**changes: Any) -> str:
        params = {"weights": [_file(SMALL).model_dump(mode="json")], "store": str(store), "endpoint": hub.url,
                  "token_file": None, "margin_gib": 0.0, "rehash": False}  # fmt: skip
        result = weights_step(params | changes, check=False)
        assert result["failed"] and result["msg"]
        return f"{result['fault']} {result['exit_code']}"

    taken = tmp_path / "a file"
    taken.touch()
    assert fault(store=str(taken)) == "host 1"
    assert fault(margin_gib=1e9) == "host 2"
    assert fault(token_file=str(tmp_path / "none")) == "host 2"
    assert fault(weights=[_file(SMALL, path="none").model_dump(mode="json")]) == "host 2"
    assert fault(weights=[_file(SMALL, sha256="0" * 64).model_dump(mode="json")]) == "host 2"
    for status in (403, 404, 429, 503):
        hub.faults.status[SMALL] = [status] * 20
        assert fault() == "host 2"
    hub.faults.status.clear()
    hub.faults.login = True
    assert fault() == "host 2"
    assert fault(endpoint="http://127.0.0.1:9") == "host 2"
    assert fault(endpoint="http://hub.invalid") == "host 2"
    hub.faults.login = False
    params = {"weights": [_file(SMALL).model_dump(mode="json")], "store": str(store), "endpoint": hub.url}
    assert weights_step(params | {"margin_gib": 0.0}, check=False)["changed"], (
        "the same files, once they can be had"
    )


def test_a_disk_that_fills_up_is_said_and_left_clean(
    hub: Hub, tmpfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes the room between the check and the last byte: the check is made to see plenty."""
    real = shutil.disk_usage

    def plenty(path: Path) -> object:
        return real(path)._replace(free=10**12)

    monkeypatch.setattr(shutil, "disk_usage", plenty)
    with pytest.raises(DiskFull, match="the disk filled up"):
        _ensure([_file(BIG)], tmpfs / "weights", hub)
    assert not [path for path in tmpfs.rglob("*") if path.is_file() and path.stat().st_size > 0]


def test_hf_endpoint_and_proxies_are_honoured(store: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url + "/")
    assert ensure([_file(SMALL)], store, margin_bytes=0).endpoint == hub.url
    assert hub.requests
    # A proxy is asked for the hub's whole address; ours answers as the hub that nobody can reach directly.
    with Hub(FILES) as proxy:
        environment = os.environ | {"HTTP_PROXY": proxy.url, "http_proxy": proxy.url}
        code = (
            "import sys, json; from pathlib import Path; from bench.catalog.entry import WeightFile; "
            "from bench.weights.store import ensure; "
            "ensure([WeightFile(**json.loads(sys.argv[1]))], Path(sys.argv[2]), "
            "endpoint='http://hub.invalid', margin_bytes=0)"
        )
        subprocess.run(
            [sys.executable, "-c", code, _file(SMALL).model_dump_json(), str(store / "behind")],
            env=environment, check=True,
        )  # fmt: skip
        assert {one.method for one in proxy.requests} == {"HEAD", "GET"}


def test_a_password_in_the_endpoint_is_neither_said_nor_recorded(hub: Hub, store: Path) -> None:
    endpoint = hub.url.replace("://", "://jo:SECRET@")
    assert ensure([_file(SMALL)], store, endpoint=endpoint, margin_bytes=0).endpoint == hub.url
    with pytest.raises(HubError, match=f"{hub.url} has no") as refused:
        ensure([_file(SMALL, path="none")], store, endpoint=endpoint, margin_bytes=0)
    assert "SECRET" not in str(refused.value)


@pytest.mark.parametrize("address", ["hub.example", "ftp://hub.example", "file:///tmp"])
def test_an_endpoint_is_an_address(store: Path, address: str) -> None:
    with pytest.raises(BadInput, match="http"):
        ensure(BOTH, store, endpoint=address)


@pytest.mark.parametrize(
    ("repo", "path"),
    [("a/b", "../../etc/x"), ("a/b", "/etc/x"), ("../a", "x"), ("a/b/c", "x"), ("a/b", "x\\y")],
)
def test_no_path_leads_out_of_the_store(hub: Hub, store: Path, repo: str, path: str) -> None:
    with pytest.raises(BadInput, match="not one of a hub"):
        _ensure([WeightFile(repo=repo, revision=REVISION, path=path)], store, hub)


def test_a_damaged_list_of_known_files_is_not_forgotten(hub: Hub, store: Path) -> None:
    _ensure(BOTH, store, hub)
    (store / "known.json").write_text("{")
    with pytest.raises(BadInput, match=r"known\.json"):
        _ensure(BOTH, store, hub)


def test_two_at_once_fetch_once(hub: Hub, store: Path) -> None:
    code = (
        "import sys, json; from pathlib import Path; from bench.catalog.entry import WeightFile; "
        "from bench.weights.store import ensure; "
        "print(ensure([WeightFile(**json.loads(sys.argv[1]))], Path(sys.argv[2]), endpoint=sys.argv[3], "
        "margin_bytes=0).changed)"
    )
    command = [sys.executable, "-c", code, _file(BIG).model_dump_json(), str(store), hub.url]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(one.communicate(timeout=120)[0].strip() for one in both)
    assert said == ["False", "True"]
    assert len(hub.gets(BIG)) == 1


def test_progress_tells_what_lies_on_disk(hub: Hub, store: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    _ensure([_file(BIG)], store, hub, progress=lambda *step: seen.append(step))
    assert seen[-1] == (f"{REPO}/{BIG}", len(_big), len(_big))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_the_step_says_in_check_mode_what_would_be_fetched(hub: Hub, store: Path) -> None:
    params = {
        "weights": [file.model_dump(mode="json") for file in BOTH],
        "store": str(store),
        "endpoint": hub.url,
        "token_file": None,
        "margin_gib": 0.0,
        "rehash": False,
    }
    would = weights_step(params, check=True)
    assert would["changed"] and would["would_fetch"] == [f"{REPO}/{SMALL}", f"{REPO}/{BIG}"]
    assert would["would_fetch_bytes"] == sum(file.bytes or 0 for file in BOTH)
    assert hub.connections == 0 and not store.exists()
    assert weights_step(params, check=False)["changed"]
    assert not weights_step(params, check=True)["changed"]
    assert not weights_step(params, check=False)["changed"]
    failed = weights_step(params | {"weights": [{"repo": REPO}]}, check=False)
    assert failed["failed"] and "revision" in failed["msg"]


def test_every_refusal_is_one_a_user_can_act_on() -> None:
    assert all(issubclass(kind, AuditionError) for kind in (DiskFull, HubError, WrongHash))
