import pytest

from pipeline.simulation.world import CARRIERS
from schemas.carriers._tables import shipped
from schemas.events import ScanStatus
from tests.schemas.carriers.labelled import Labelled, made_up, real, scores


@pytest.mark.parametrize(("text", "status"), made_up(), ids=lambda value: value[:30])
def test_a_phrase_means_what_carriers_mean_by_it(text: str, status: str) -> None:
    assert shipped().meaning(text) == status


def test_every_status_is_among_the_phrases() -> None:
    assert {status for _, status in made_up()} == {*ScanStatus, "no_scan"}


def test_an_unknown_text_is_known_to_be_unknown() -> None:
    assert shipped().meaning("包裹已有着落") is None
    assert shipped().meaning("") is None


def check(labelled: list[Labelled]) -> None:
    """The worst mistakes are a pickup and a delivery that were none: no text may be taken for one."""
    table = scores(labelled)
    assert table["picked_up"].precision == table["delivered"].precision == 1
    for status, score in table.items():
        assert score.precision >= 0.95, (status, score)
        assert score.recall >= 0.95, (status, score)


def test_real_texts_are_understood() -> None:
    labelled = real()
    if not labelled:
        pytest.skip("there is no folder `shared` beside the project with real histories")
    assert len(labelled) > 300
    check(labelled)


def test_what_the_simulation_writes_is_understood_as_it_is_meant() -> None:
    phrases = [(text, status) for carrier in CARRIERS for status, text in carrier.phrases.items()]
    # 快件已退回至【…】 may name the sender's branch, or one on the way back.
    check([phrase for phrase in phrases if phrase[1] != "returned"])
