"""Messages that the server was made to carry give themselves away."""

import pytest

from bus.provenance import forgery_of, is_request


@pytest.mark.parametrize("reply", ["_INBOX.x.y", "_INBOX_order.x.1"])
def test_a_request_has_an_inbox_for_its_answer(reply: str) -> None:
    assert is_request(reply)


@pytest.mark.parametrize("reply", ["", "$JS.ACK.S.c.1.1.1.1.0", "cmd.payment.refund.v1"])
def test_what_has_no_inbox_for_an_answer_is_no_request(reply: str) -> None:
    assert not is_request(reply)


def test_told_work_has_no_mark_of_a_stream_or_a_schedule() -> None:
    assert forgery_of({"ce-id": "x", "Nats-Msg-Id": "x"}, "payment") == ""


def test_a_timer_of_the_plugin_itself_is_genuine() -> None:
    assert forgery_of({"Nats-Scheduler": "work.payment.timer.pay-by-1"}, "payment") == ""


@pytest.mark.parametrize(
    "headers",
    [{"Nats-Stream": "EVT_ORDER"}, {"Nats-Scheduler": "work.payment.do.create_payment_v1"}],
)
def test_work_out_of_another_stream_or_schedule_is_forged(headers: dict[str, str]) -> None:
    assert forgery_of(headers, "payment").startswith("forged: ")
