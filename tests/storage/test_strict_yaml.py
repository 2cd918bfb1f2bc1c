"""What users write in YAML and the verdict goes by: read exactly, or refused with the line."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from bench.catalog.entry import Entry
from bench.catalog.loader import read as read_entry
from bench.errors import BadInput
from bench.inputs import rights
from bench.inputs.rights import Rights
from bench.jobs.spec import JobLimits
from bench.records.run import Rule
from bench.storage.strict_yaml import parse_yaml
from bench.verdict.collect import read_rule
from tests.support import entries

HEAD = "# a comment, so that the line is not the first\n\n"


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "rule.yml"
    path.write_text(HEAD + text)
    with pytest.raises(BadInput) as caught:
        read_rule(path)
    message = str(caught.value)
    name = f"rule_file {path}:"
    assert message.startswith(name)
    assert message.endswith("docs/verdict.md lists its keys.")
    return message.removeprefix(name)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pairs: 10\nttfa_p50_limit_ms: .inf", "4: .inf: is no finite number"),
        ("ttfa_p50_limit_ms: -.Inf", "3: -.Inf: is no finite number"),
        ("ttfa_p50_limit_ms: .NaN", "3: .NaN: is no finite number"),
        ("ttfa_p50_limit_ms: 1.0e+999", "3: 1.0e+999: is beyond any number"),
        ("ttfa_p50_limit_ms: '500'", "3: ttfa_p50_limit_ms: Input should be a valid number"),
        ("ttfa_p50_limit_ms: 5e2", "3: ttfa_p50_limit_ms: Input should be a valid number"),
        ("ttfa_p50_limit_ms: yes", "3: ttfa_p50_limit_ms: Input should be a valid number"),
        ("ttfa_p50_limit_ms: 8:20", "3: 8:20: is no finite number in decimal digits"),
        ("pairs: '10'", "3: pairs: Input should be a valid integer"),
        ("pairs: 10.0", "3: pairs: Input should be a valid integer"),
        ("pairs: on", "3: pairs: Input should be a valid integer"),
        ("pairs: 010", "3: 010: is no finite number in decimal digits"),
        ("pairs: 0x10", "3: 0x10: is no finite number in decimal digits"),
        ("pairs: 1_0", "3: 1_0: is no finite number in decimal digits"),
        ("pairs: 10\nchannel: full\npairs: 1", "5: pairs: is given a second time"),
        ("pairs: 10\nrating_margin: 0.5", "4: rating_margin: Extra inputs are not permitted"),
        ("channel: [full]", "3: channel: Input should be 'full', 'narrowband' or 'wideband'"),
        ("minimum_raters: null", "3: minimum_raters: Input should be a valid integer"),
        ("- pairs: 10", " a rule is a mapping of keys"),
        ("pairs: &again\n- *again", " not YAML: an alias stands for what it is in"),
        ("pairs: !!binary aGk=", " a value of the kind bytes"),
        ("pairs: [", "3: not YAML: expected the node content"),
    ],
)  # fmt: skip
def test_a_rule_file_is_read_exactly_or_refused_with_the_line(tmp_path: Path, text: str, says: str) -> None:
    assert refused(tmp_path, text).startswith(says)


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    message = refused(tmp_path, "pairs: .inf\nchannel: full\npears: 1\nchannel: full")
    assert "6: channel: is given a second time" in message
    assert "3: .inf: is no finite number" in message


def test_what_is_right_is_taken_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "rule.yml"
    path.write_bytes(b"pairs: 12 # twelve\nttfa_p50_limit_ms: 450\nchannel: wideband\n")
    rule, data = read_rule(path)
    assert rule == Rule(pairs=12, ttfa_p50_limit_ms=450.0, channel="wideband")
    assert data == path.read_bytes()


@pytest.mark.parametrize(
    ("line", "changed", "says"),
    [
        (
            "may_publish_clips: false",
            "may_publish_clips: 1",
            "may_publish_clips: Input should be a valid boolean",
        ),
        (
            "may_publish_clips: false",
            'may_publish_clips: "no"',
            "may_publish_clips: Input should be a valid boolean",
        ),
        ("licence: private", "licence: private\nmay_publish_clips: true", "is given a second time"),
        ("who: A", "who: A\n  who: B", "who: is given a second time"),
        ("licence: private", "licence: 2026", "licence: Input should be a valid string"),
    ],
)
def test_a_rights_statement_too(tmp_path: Path, line: str, changed: str, says: str) -> None:
    whole = (
        "speaker: A\nsource: here\nlicence: private\nattestation:\n  who: A\n  date: 2026-01-05\n"
        f"  statement: Mine.\nsha256: {'a' * 64}\nmay_publish_clips: false\n"
    )
    path = tmp_path / "rights.yml"
    path.write_text(whole)
    assert rights.read(path, "a" * 64).attestation.date.isoformat() == "2026-01-05"
    assert line in whole
    path.write_text(whole.replace(line, changed))
    with pytest.raises(BadInput, match=r"rights\.yml:\d+: ") as caught:
        rights.read(path, "a" * 64)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"reference.max_s": float("inf")}, ".inf: is no finite number"),
        ({"reference.min_s": "3"}, "reference.min_s: Input should be a valid number"),
        ({"reference.whole_seconds": "no"}, "reference.whole_seconds: Input should be a valid boolean"),
    ],
)
def test_a_catalog_entry_too(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    folder = entries.write(tmp_path / "catalog", entries.raw("mine", **changes))
    with pytest.raises(BadInput, match=r"mine\.yml:\d+: ") as caught:
        read_entry(folder / "mine.yml")
    assert says in str(caught.value)


def test_a_misspelt_key_of_an_entry_is_answered_with_the_one_that_is_meant(tmp_path: Path) -> None:
    for wrong, meant in (("titel", "title"), ("reference.max_sec", "max_s"), ("run.adaptor", "adapter")):
        folder = entries.write(tmp_path / wrong, entries.raw("mine", **{wrong: "x"}))
        with pytest.raises(BadInput) as caught:
            read_entry(folder / "mine.yml")
        assert f"(did you mean {meant}?)" in str(caught.value), wrong
    folder = entries.write(tmp_path / "other", entries.raw("mine", zzz="x"))
    with pytest.raises(BadInput) as caught:
        read_entry(folder / "mine.yml")
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize("value", ["inf", "nan", float("inf")])
def test_a_setting_is_finite_too(value: object) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        JobLimits.model_validate({"take_timeout_s": value})


@pytest.mark.parametrize("model", [Rule, Rights, Entry])
def test_what_users_write_has_no_key_that_is_passed_over(model: type[BaseModel]) -> None:
    assert model.model_config["extra"] == "forbid"


def test_a_mapping_that_takes_in_another_may_say_one_of_its_keys_anew() -> None:
    class Two(BaseModel):
        one: dict[str, int]
        two: dict[str, int]

    text = b"one: &one {low: 1, high: 9}\ntwo: {<<: *one, high: 5}\n"
    found, lines = parse_yaml(text, "two.yml", Two, what="this", see="Nowhere.")
    assert found.two == {"low": 1, "high": 5}
    assert lines.of(("two", "high")) == "two.yml:2"
