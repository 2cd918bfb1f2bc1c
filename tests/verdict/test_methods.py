"""A run is judged by the method that it began with; and runs of the same inputs that came before it are named."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BadInput
from bench.records.run import EarlierRun, Manifest
from bench.storage.digests import sha256_bytes
from bench.storage.record_file import load_record, save_record
from bench.verdict.collect import check_commitments
from bench.verdict.methods import METHODOLOGY_VERSION
from bench.verdict.rule import decide
from tests.support.made_evidence import evidence, manifest, ratings
from tests.verdict.test_rule import UNRATED, stored

TWO: dict[str, Sequence[int]] = {
    "ann": [1, 0, 2, 1, 0, 1, -1, 1, 1, 0],
    "bob": [1, 1, 0, 2, 0, 1, 1, -1, 1, 2],
}


@pytest.mark.parametrize("method", [2, METHODOLOGY_VERSION + 1])
def test_a_method_that_is_not_known_is_refused_by_its_number(method: int, tmp_path: Path) -> None:
    begun = manifest(methodology_version=method)
    with pytest.raises(BadInput, match=f"judged by method {method}, and this Audition knows 3 to"):
        decide(evidence(manifest=begun))
    with pytest.raises(BadInput, match="finish it with the version that began it"):
        check_commitments(tmp_path, begun)


def test_the_verdict_is_stamped_with_the_method_of_the_run_and_goes_by_it() -> None:
    new, old = (
        stored(decide(evidence(ratings=ratings(TWO), manifest=manifest(methodology_version=method))))
        for method in (4, 3)
    )
    assert (new["methodology_version"], old["methodology_version"]) == (4, 3)
    assert old["ratings"]["interval_method"] == "two-stage bootstrap, raters then pairs"
    assert old["ratings"]["interval_95"] == [0.3, 1.1]
    assert new["ratings"]["interval_method"] == "raters and sentences crossed, Howe"
    assert new["ratings"]["interval_95"][0] < 0.3 and new["ratings"]["interval_95"][1] > 1.1
    assert (
        old["ratings"]["power"][1]["passes_at_gap"]["0"]
        < 0.03
        < new["ratings"]["power"][1]["passes_at_gap"]["0"]
    )


def test_a_manifest_without_a_method_is_one_of_method_3_and_is_written_as_it_was(tmp_path: Path) -> None:
    save_record(manifest(methodology_version=3), tmp_path)
    written = json.loads((tmp_path / "manifest.json").read_text())
    assert not {"methodology_version", "earlier_runs"} & set(written)
    assert "failed_takes_limit" not in written["rule"]
    assert load_record(Manifest, tmp_path).methodology_version == 3
    save_record(manifest(earlier_runs=[]), tmp_path)
    written = json.loads((tmp_path / "manifest.json").read_text())
    assert (written["methodology_version"], written["earlier_runs"]) == (METHODOLOGY_VERSION, [])


@pytest.mark.parametrize(("method", "refused"), [(3, False), (4, True)])
def test_a_rule_file_of_a_run_from_before_is_read_as_it_was_then(
    tmp_path: Path, method: int, refused: bool
) -> None:
    lax = b"pairs: '10'\npairs: 10\n"
    (tmp_path / "rule.yml").write_bytes(lax)
    sha = sha256_bytes(lax)
    begun = manifest(methodology_version=method, rule_sha256=sha)
    begun.inputs.rule_sha256 = sha
    if not refused:
        check_commitments(tmp_path, begun)
        return
    with pytest.raises(BadInput, match=r"rule\.yml:2: pairs: is given a second time"):
        check_commitments(tmp_path, begun)


def earlier(run_id: str, reason: Any = "rule") -> EarlierRun:
    return EarlierRun(run_id=run_id, decision="keep_baseline_try_next", reason=reason)


def test_earlier_runs_of_the_same_inputs_are_named_with_what_the_best_of_them_is_worth() -> None:
    before = [
        earlier("f5-titan-20260101T000000Z"),
        earlier("f5-titan-20260201T000000Z"),
        earlier("f5-x-1", "licence"),
    ]
    verdict = decide(evidence(manifest=manifest(earlier_runs=before)))
    assert verdict.warnings[0] == (
        "The same inputs had been decided before this run began: f5-titan-20260101T000000Z (keep_baseline_try_next), "
        "f5-titan-20260201T000000Z (keep_baseline_try_next), f5-x-1 (keep_baseline_try_next). Of a candidate that is "
        "no better, one such test passes in 18.8% and the best of 3, each with raters of its own, in 46.4%."
    )
    assert (
        "the best of 3"
        in decide(evidence(manifest=manifest(earlier_runs=before), ratings=UNRATED)).warnings[0]
    )
    refused = decide(evidence(manifest=manifest(earlier_runs=before[2:])))
    assert refused.warnings == [
        "The same inputs had been decided before this run began: f5-x-1 (keep_baseline_try_next)."
    ]
    assert decide(evidence(manifest=manifest(earlier_runs=[]))).warnings == []
