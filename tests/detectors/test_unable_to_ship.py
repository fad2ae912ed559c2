from tests.detectors.asking import US, violated


def test_48_hours_run_from_the_shipping_deadline_to_the_first_upload() -> None:
    assert violated("unable_to_ship", late_shipment_deadline=58, first_uploaded_at=106) is None
    assert violated("unable_to_ship", late_shipment_deadline=58, first_uploaded_at=106 + US) == 106
