"""Check everything a user gives and turn it into what a run commits to; nothing is written here."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ValidationError

from bench.catalog.entry import Entry
from bench.catalog.loader import load as load_entry
from bench.controller.request import RunRequest
from bench.errors import BadInput
from bench.inputs import reference as references
from bench.inputs import utterances
from bench.records.base import Record, ServiceChannel
from bench.records.run import Inputs, Manifest, Rule
from bench.storage.digests import canonical_json, sha256_bytes, sha256_file
from bench.verdict.collect import read_rule

_INPUTS = Path(utterances.__file__).parent
DEFAULT_UTTERANCES = _INPUTS / "utterances.txt"
"""The ten utterances that are spoken unless another file is given."""
DEFAULT_RULE = _INPUTS / "rule.yml"


@dataclass(frozen=True, slots=True)
class Committed:
    """What the inputs say, with nothing decoded: enough to find a run that has the same."""

    inputs: Inputs
    inputs_sha256: str
    rule: Rule
    rule_bytes: bytes
    entry: Entry
    baseline_entry: Entry
    utterances_file: Path
    utterance_count: int


def commit(request: RunRequest) -> Committed:
    """Read and check all inputs but the voice itself, which `choose_reference` decodes.

    Raises:
        BadInput: with what is wrong and what to do.
    """
    entry = request.entry()
    baseline_entry = request.baseline_entry()
    for name, asked in (("question", request.question), ("second_question", request.second_question)):
        _check_words(name, asked)
    rule_file = request.rule_file or DEFAULT_RULE
    rule, rule_bytes = name_channel(rule_file, *read_rule(rule_file), request.service_channel)
    utterances_file = request.utterances_file or DEFAULT_UTTERANCES
    facts = utterances.validate(utterances_file)
    if facts.count < rule.pairs:
        raise BadInput(
            f"{utterances_file} has {facts.count} utterances and the rule wants {rule.pairs} pairs; add sentences "
            "or change `pairs` in rule_file."
        )
    for name in request.chain:
        load_chain_member(request, name)
    if request.choice != "none" and not request.together:
        raise BadInput(
            f"choice {request.choice} is between candidates that are rated together; set together: true, or leave it "
            "out: of a chain the first that passes is taken."
        )
    inputs = Inputs(
        model=request.model,
        profile=request.profile,
        entry_sha256=_hash_side(entry, request.model_url),
        baseline=request.baseline,
        baseline_sha256=_hash_side(baseline_entry, request.baseline_profile, request.baseline_url),
        rule_sha256=sha256_bytes(rule_bytes),
        question_sha256=sha256_bytes(request.question.encode()),
        second_question_sha256=sha256_bytes(request.second_question.encode())
        if request.second_question
        else None,
        reference_sha256=_reference_sha256(request),
        utterances_sha256=facts.sha256,
        neighbour_mode=request.neighbour_mode,
        intended_use=request.intended_use,
        together=request.together or None,
        choice=None if request.choice == "none" else request.choice,
    )
    return Committed(
        inputs=inputs,
        inputs_sha256=_sha(inputs),
        rule=rule,
        rule_bytes=rule_bytes,
        entry=entry,
        baseline_entry=baseline_entry,
        utterances_file=utterances_file,
        utterance_count=facts.count,
    )


def _check_words(name: str, asked: str | None) -> None:
    """Refuse a question of one word: after `-e` a value ends at its first space unless it is quoted twice.

    A language that is written without spaces is no such case.
    """
    if asked and asked.isascii() and " " not in asked.strip():
        raise BadInput(
            f"{name} is the one word {asked!r}. If more was meant, quote it for the shell and for Ansible: "
            f"""-e '{{"{name}": "How natural does this sound?"}}'; or set it in the inventory."""
        )


def name_channel(
    rule_file: Path, rule: Rule, data: bytes, channel: ServiceChannel | Literal["rule"]
) -> tuple[Rule, bytes]:
    """Return the rule and its bytes with the channel that the service uses. The rule that ships takes it over; a rule
    file of the user's own may name it too.

    Raises:
        BadInput: the rule file names another.
    """
    if channel in ("rule", rule.channel):
        return rule, data
    if "channel" not in rule.model_fields_set:
        data = data.rstrip() + f"\nchannel: {channel}\n".encode()
    elif rule_file == DEFAULT_RULE:
        data = re.sub(rb"(?m)^channel: \w+", f"channel: {channel}".encode(), data)
    else:
        raise BadInput(
            f"rule_file {rule_file} counts the ratings of channel {rule.channel} and service_channel is {channel}; "
            "name one channel in both, or leave it out of rule_file."
        )
    try:
        return Rule.model_validate(yaml.safe_load(data)), data
    except (yaml.YAMLError, ValidationError):
        raise BadInput(
            f"rule_file {rule_file} takes no line more; name the channel {channel} in it."
        ) from None


def recommit(manifest: Manifest) -> str:
    """Return the hash of a run's inputs as this version would commit to them."""
    return _sha(_reread(manifest))


def shared_sha256(of: Manifest | Inputs) -> str:
    """Return the hash of the inputs that a survey's runs have in common: all but the candidate's own."""
    inputs = _reread(of) if isinstance(of, Manifest) else of
    return sha256_bytes(canonical_json(inputs.model_dump(mode="json", exclude=_THE_CANDIDATES)))


_THE_CANDIDATES = {"model", "profile", "entry_sha256"}


def _reread(manifest: Manifest) -> Inputs:
    """Return a run's inputs as this version would commit to them.

    Entries are read as today's are: keys that came later have their defaults, an adapter that moved its new place. So a
    run that an earlier version began is found by the same inputs.
    """
    entry, baseline = Entry.model_validate(manifest.entry), Entry.model_validate(manifest.baseline_entry)
    return manifest.inputs.model_copy(
        update={
            "entry_sha256": _hash_side(entry, manifest.model_url),
            "baseline_sha256": _hash_side(baseline, manifest.baseline_profile, manifest.baseline_url),
        }
    )


def _hash_side(entry: Entry, *served: str | None) -> str:
    """Hash a side's entry and how it is asked for: the profile where it is chosen apart, the address."""
    return sha256_bytes(canonical_json([entry.hashed(), *served]))


def load_chain_member(request: RunRequest, name: str) -> None:
    """Check that a model of the chain has a catalog entry."""
    load_entry(name, request.catalog_dir)


def load_reference(request: RunRequest) -> references.ReferenceInput:
    """Decode the owner's clip and refuse what no model could use."""
    return references.load(*reference_files(request))


def _sha(record: Record) -> str:
    return sha256_bytes(canonical_json(record.model_dump(mode="json")))


def reference_files(request: RunRequest) -> tuple[Path, Path, Path]:
    """Return the recording, its transcript and the rights statement.

    Raises:
        BadInput: one of them was not given.
    """
    if request.reference_transcript is None:
        raise BadInput(
            f"the reference {request.reference_audio} has no transcript; give its words in "
            "reference_transcript (SRT, VTT, JSON or plain text; docs/reference.md)."
        )
    if request.reference_rights is None:
        raise BadInput(
            f"the reference {request.reference_audio} has no rights statement; say whose voice it is and who "
            "allowed its use in reference_rights (docs/reference.md shows one)."
        )
    return request.reference_audio, request.reference_transcript, request.reference_rights


def _reference_sha256(request: RunRequest) -> str:
    """Hash the three files as they are; a file that is not there gets the chooser's own message."""
    files = reference_files(request)
    if missing := [str(path) for path in files if not path.is_file()]:
        raise BadInput(
            f"no such reference file: {', '.join(missing)}. Give reference_audio, reference_transcript and "
            "reference_rights; for the demo's synthetic voice run `make setup`."
        )
    names = ("audio", "transcript", "rights")
    return sha256_bytes(canonical_json({n: sha256_file(p) for n, p in zip(names, files, strict=True)}))
