"""The gates that need no download, on the catalog's own entries and on what model cards say."""

import pytest

from bench.catalog import loader
from bench.inputs.gates import clone_gate, find_withheld, licence_gate, notices
from bench.records.base import IntendedUse


@pytest.mark.parametrize(
    ("model", "use", "ok"),
    [
        ("f5", "commercial", False),
        ("f5", "personal", True),
        ("f5", "research", True),
        ("cosyvoice2", "commercial", True),
        ("espeak", "commercial", True),
    ],
)
def test_licence_against_the_intended_use(model: str, use: IntendedUse, ok: bool) -> None:
    check = licence_gate(loader.load(model), use)
    assert (check.name, check.severity, check.ok, check.value) == ("licence", "gate", ok, use)


def test_a_refusal_names_the_part_the_licence_and_its_source() -> None:
    entry = loader.load("f5")
    assert entry.licences.weights is not None
    detail = licence_gate(entry, "commercial").detail
    assert "weights" in detail and "CC-BY-NC-4.0" in detail and entry.licences.weights.source in detail


def test_the_notice_is_printed_when_the_gate_passes_too() -> None:
    entry = loader.load("f5")
    assert entry.licences.weights is not None and entry.licences.weights.notice
    assert entry.licences.weights.notice in licence_gate(entry, "personal").detail
    assert entry.licences.weights.notice in notices(entry)


def test_a_licence_of_the_code_refuses_as_well() -> None:
    entry = loader.load("cosyvoice2").model_copy(deep=True)
    entry.licences.code.commercial_use = False
    check = licence_gate(entry, "commercial")
    assert check.ok is False
    assert "the code is under" in check.detail and "the weights are under" not in check.detail


def test_a_withheld_encoder_is_refused_by_the_entry_alone() -> None:
    check = clone_gate(loader.load("voxtral4b"), None)
    assert (check.name, check.severity, check.ok, check.value) == ("clone_encoder", "gate", False, "withheld")


def test_an_open_encoder_passes_and_the_demo_passes_with_a_notice() -> None:
    assert clone_gate(loader.load("f5"), None).ok is True
    demo = clone_gate(loader.load("espeak"), None)
    assert demo.ok is True and demo.value == "none"
    assert "does not clone" in demo.detail


SAYS_WITHHELD = [
    "This repository holds the decoder only. The encoder weights are not available in the open checkpoint.",
    "Note: we do not release the speaker encoder, to prevent misuse.",
    "# Limits\n- Voice cloning is gated; use our platform.\n- English only.",
    "For safety the voice-cloning encoder has been withheld.",
    "Twenty voices ship. The codec's audio encoder isn't included in this release.",
    "Voice cloning is not supported by the published weights.",
    "The checkpoint lacks the audio tokenizer's\nencoder, so only presets work.",
    "encode_waveforms requires encoder weights which are not available in the open-source checkpoint",
    "This release does not yet support voice cloning.",
    "We withhold the speaker encoder for safety.",
    "The voice encoder won't be released.",
    "Only the decoder ships, without its audio encoder.",
]
SAYS_OPEN = [
    "The speaker encoder is included. Training code is not released.",
    "Voice cloning needs three seconds of audio. No fine-tuning.",
    "This model does not need a transcript. It supports zero-shot voice cloning in 9 languages.",
    "Do not clone voices without consent.",
    "Please do not use it for voice cloning without the speaker's permission.",
    "Zero-shot voice cloning from a 10 s clip, without fine-tuning.",
    "Voice cloning without a reference text is not supported.",
    "Voice cloning is not supported for commercial purposes.",
    "We do not support voice cloning that impersonates people.",
    "Access to this repository is gated: agree to use voice cloning responsibly.",
    "This model does not contain a separate speaker encoder; it clones from the prompt.",
    "The audio encoder uses gated convolutions and is not trained on public data.",
    "The audio encoder is open, the training code is not released.",
    "A transformer encoder-decoder with 4B weights.",
    "",
]


@pytest.mark.parametrize("card", SAYS_WITHHELD)
def test_a_card_that_says_withheld_overrules_an_open_entry(card: str) -> None:
    check = clone_gate(loader.load("f5"), card)
    assert check.ok is False and check.value == "withheld"
    assert "model card" in check.detail


@pytest.mark.parametrize("card", SAYS_OPEN)
def test_a_card_that_does_not_say_so_leaves_the_entry_standing(card: str) -> None:
    assert find_withheld(card) is None
    assert clone_gate(loader.load("f5"), card).ok is True


def test_a_card_is_quoted_without_what_moves_a_terminal() -> None:
    said = "The speaker en\u200bcoder has \x1b[1mnot been released\x1b[0m."
    assert find_withheld(said) == "The speaker encoder has not been released."
