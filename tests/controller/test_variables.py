"""Names that are nearly those of public variables."""

import pytest

from bench.controller.variables import find_misspelt, list_public


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("neighbor_mode", "neighbour_mode"),
        ("intended_us", "intended_use"),
        ("baseline_uri", "baseline_url"),
        ("refernece_audio", "reference_audio"),
        ("utterance_file", "utterances_file"),
    ],
)
def test_a_slip_is_found_wherever_it_was_made(name: str, meant: str) -> None:
    said = f"{name} is no variable of Audition; is {meant} meant? docs/variables.md lists every variable."
    assert find_misspelt([name, meant, "inventory_hostname"], []) == [said]
    assert find_misspelt([], [name]) == [said]


@pytest.mark.parametrize(("name", "meant"), [("modle", "model"), ("runid", "run_id"), ("chains", "chain")])
def test_a_short_name_is_held_to_ours_where_it_was_typed(name: str, meant: str) -> None:
    assert find_misspelt([name], []) == [], "an inventory may have such a name of its own"
    assert [said.split("; ")[1] for said in find_misspelt([name], [name])] == [
        f"is {meant} meant? docs/variables.md lists every variable."
    ]


def test_other_peoples_names_and_ours_are_left_alone() -> None:
    assert {"model", "neighbour_mode", "weights_store", "publish_remote"} <= list_public()
    assert (
        find_misspelt(
            [*list_public(), "site", "ansible_host", "engine_installed", "neighbour_watcher"], list_public()
        )
        == []
    )
