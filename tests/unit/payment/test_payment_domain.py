"""The rules of a payment: what is told, what is done, and that any order of news ends in the same truth."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.money import ZERO, Money
from plugins.payment.contract import (
    PaymentAuthorized,
    PaymentCaptured,
    PaymentFailed,
    PaymentRequested,
    RefundFailed,
    RefundRequested,
    RefundSettled,
)
from plugins.payment.domain import Payment
from plugins.payment.errors import AmountMismatchError, IllegalPaymentMoveError
from plugins.payment.intents import (
    CaptureAtProvider,
    OpenAtProvider,
    ProviderNews,
    ProviderRefund,
    RefundAtProvider,
)
from tests.unit.payment.payment_builders import (
    NOW,
    RUPEES_500,
    a_captured_payment,
    a_cash_payment,
    a_payment,
    a_ready_payment,
    given_back,
    intended,
    kinds,
    paid,
    settled,
    told,
)


def test_cash_is_due_as_soon_as_the_payment_exists() -> None:
    payment = a_payment(method="cod")

    payment.create(NOW)

    assert payment.status == "cash_due"
    assert [type(event) for event in told(payment)] == [PaymentRequested]
    assert intended(payment) == []


def test_an_online_payment_is_opened_at_the_provider_before_anybody_is_told() -> None:
    payment = a_payment()

    payment.create(NOW)

    assert payment.status == "pending"
    assert told(payment) == []
    assert intended(payment) == [OpenAtProvider(payment_id=payment.payment_id, amount=RUPEES_500)]


def test_an_opened_payment_is_ready_and_asked_for() -> None:
    payment = a_payment()
    payment.create(NOW)
    settled(payment)

    payment.open("order_Provider1", NOW)

    assert (payment.status, payment.provider_order_id) == ("ready", "order_Provider1")
    assert [type(event) for event in told(payment)] == [PaymentRequested]


def test_opening_twice_is_opening_once() -> None:
    payment = a_ready_payment()

    payment.open("order_Provider1", NOW)

    assert payment.changes == []


def test_a_refused_payment_has_failed_for_good() -> None:
    payment = a_payment()
    payment.create(NOW)
    settled(payment)

    payment.refuse(NOW)

    [failed] = told(payment)
    assert isinstance(failed, PaymentFailed)
    assert (failed.reason, failed.is_final) == ("provider", True)
    assert payment.status == "failed"


def test_an_authorisation_is_told_and_captured_in_full() -> None:
    payment = a_ready_payment()

    payment.learn(paid("pay_1", "authorized"), NOW)

    assert [type(event) for event in told(payment)] == [PaymentAuthorized]
    assert intended(payment) == [
        CaptureAtProvider(
            payment_id=payment.payment_id, provider_payment_id="pay_1", amount=RUPEES_500
        )
    ]


def test_the_same_authorisation_again_changes_nothing() -> None:
    payment = a_ready_payment()
    payment.learn(paid("pay_1", "authorized"), NOW)
    settled(payment)

    payment.learn(paid("pay_1", "authorized"), NOW)

    assert payment.changes == []


def test_a_capture_without_an_authorisation_before_it_is_both() -> None:
    payment = a_ready_payment()

    payment.learn(paid("pay_1", "captured"), NOW)

    assert [type(event) for event in told(payment)] == [PaymentAuthorized, PaymentCaptured]
    assert intended(payment) == []
    assert (payment.status, payment.captured) == ("captured", RUPEES_500)


def test_an_authorisation_after_its_capture_is_old_news() -> None:
    payment = a_captured_payment()

    payment.learn(paid("pay_1", "authorized"), NOW)

    assert payment.changes == []


def test_a_failed_try_leaves_the_payment_ready_for_another() -> None:
    payment = a_ready_payment()

    payment.learn(paid("pay_1", "failed"), NOW)

    [failed] = told(payment)
    assert isinstance(failed, PaymentFailed)
    assert (failed.reason, failed.is_final) == ("declined", False)
    assert payment.status == "ready"


def test_a_failed_try_may_be_authorised_after_all() -> None:
    payment = a_ready_payment()
    payment.learn(paid("pay_1", "failed"), NOW)
    settled(payment)

    payment.learn(paid("pay_1", "authorized"), NOW)

    assert payment.status == "authorized"
    assert [type(intent) for intent in intended(payment)] == [CaptureAtProvider]


def test_a_failure_that_comes_after_the_capture_is_old_news() -> None:
    payment = a_captured_payment()

    payment.learn(paid("pay_1", "failed"), NOW)

    assert payment.changes == []


def test_only_one_authorisation_is_captured_at_a_time() -> None:
    payment = a_ready_payment()
    payment.learn(paid("pay_1", "authorized"), NOW)
    settled(payment)

    payment.learn(paid("pay_2", "authorized"), NOW)

    assert intended(payment) == []


def test_a_refused_capture_gives_way_to_the_next_authorisation() -> None:
    payment = a_ready_payment()
    payment.learn(paid("pay_1", "authorized"), NOW)
    payment.learn(paid("pay_2", "authorized"), NOW)
    settled(payment)

    payment.capture_refused("pay_1", NOW)

    assert intended(payment) == [
        CaptureAtProvider(
            payment_id=payment.payment_id, provider_payment_id="pay_2", amount=RUPEES_500
        )
    ]


def test_an_authorisation_that_ran_out_is_not_money_of_ours() -> None:
    payment = a_ready_payment()
    payment.learn(paid("pay_1", "authorized"), NOW)
    settled(payment)

    payment.learn(paid("pay_1", "refunded"), NOW)

    assert (payment.status, payment.authorized, payment.captured) == ("ready", ZERO, ZERO)
    assert kinds(payment) == ["released"]


def test_an_old_authorisation_does_not_revive_one_that_ran_out() -> None:
    payment = a_ready_payment()
    payment.learn(paid("pay_1", "authorized"), NOW)
    payment.learn(paid("pay_1", "refunded"), NOW)
    settled(payment)

    payment.learn(paid("pay_1", "authorized"), NOW)

    assert payment.changes == []


def test_a_second_success_is_given_back() -> None:
    payment = a_captured_payment()

    payment.learn(paid("pay_2", "captured"), NOW)

    [refund] = intended(payment)
    assert isinstance(refund, RefundAtProvider)
    assert (refund.provider_payment_id, refund.amount) == ("pay_2", RUPEES_500)
    [requested] = [event for event in told(payment) if isinstance(event, RefundRequested)]
    assert requested.reason == "paid_twice"
    assert payment.status == "captured"


def test_a_payment_of_which_nothing_is_taken_is_cancelled_for_good() -> None:
    payment = a_ready_payment()

    payment.cancel("order_cancelled", NOW)

    [failed] = told(payment)
    assert isinstance(failed, PaymentFailed)
    assert (failed.reason, failed.is_final) == ("cancelled", True)
    assert payment.status == "failed"


def test_a_payment_cancelled_for_its_deadline_has_expired() -> None:
    payment = a_ready_payment()

    payment.cancel("payment_late", NOW)

    [failed] = told(payment)
    assert isinstance(failed, PaymentFailed)
    assert failed.reason == "expired"


def test_cash_that_is_not_collected_yet_is_cancelled() -> None:
    payment = a_cash_payment()

    payment.cancel("no_vendor", NOW)

    assert [type(event) for event in told(payment)] == [PaymentFailed]


def test_cancelling_a_captured_payment_refunds_it() -> None:
    payment = a_captured_payment()

    payment.cancel("stock_short", NOW)

    [requested] = told(payment)
    assert isinstance(requested, RefundRequested)
    assert (requested.amount, requested.reason) == (RUPEES_500, "stock_short")
    assert [type(intent) for intent in intended(payment)] == [RefundAtProvider]


def test_cancelling_twice_is_cancelling_once() -> None:
    payment = a_captured_payment()
    payment.cancel("stock_short", NOW)
    settled(payment)

    payment.cancel("order_cancelled", NOW)

    assert payment.changes == []


def test_an_authorisation_of_a_cancelled_payment_is_not_captured() -> None:
    payment = a_ready_payment()
    payment.cancel("order_cancelled", NOW)
    settled(payment)

    payment.learn(paid("pay_1", "authorized"), NOW)

    assert intended(payment) == []
    assert payment.status == "failed"


def test_money_that_comes_after_the_cancelling_goes_back_by_itself() -> None:
    payment = a_ready_payment()
    payment.cancel("order_cancelled", NOW)
    settled(payment)

    payment.learn(paid("pay_1", "captured"), NOW)

    [requested] = [event for event in told(payment) if isinstance(event, RefundRequested)]
    assert requested.reason == "payment_late"
    assert [type(intent) for intent in intended(payment)] == [RefundAtProvider]


def test_an_order_that_opens_after_the_cancelling_is_not_asked_to_be_paid() -> None:
    payment = a_payment()
    payment.create(NOW)
    payment.cancel("order_cancelled", NOW)
    settled(payment)

    payment.open("order_Provider1", NOW)

    assert told(payment) == []
    assert payment.provider_order_id == "order_Provider1"


def test_collected_cash_is_captured() -> None:
    payment = a_cash_payment()

    payment.collect_cash(RUPEES_500, NOW)

    [captured] = told(payment)
    assert isinstance(captured, PaymentCaptured)
    assert (captured.method, captured.amount) == ("cod", RUPEES_500)


def test_cash_is_collected_once() -> None:
    payment = a_cash_payment()
    payment.collect_cash(RUPEES_500, NOW)
    settled(payment)

    payment.collect_cash(RUPEES_500, NOW)

    assert payment.changes == []


def test_more_cash_than_is_due_is_refused() -> None:
    payment = a_cash_payment()

    with pytest.raises(AmountMismatchError):
        payment.collect_cash(RUPEES_500 + Money(1), NOW)

    assert payment.changes == []


def test_less_cash_is_taken_when_a_part_was_not_delivered() -> None:
    payment = a_cash_payment()

    payment.collect_cash(Money(30_000), NOW)

    assert (payment.status, payment.captured) == ("captured", Money(30_000))


def test_a_part_that_will_not_be_delivered_is_refunded() -> None:
    payment = a_captured_payment()
    settled(payment)

    payment.refund_part(Money(20_000), "no_vendor", NOW)

    (refund,) = payment.refunds.values()
    assert (refund.amount, refund.state) == (Money(20_000), "requested")
    assert [change.intent for change in payment.changes if change.intent] == [
        RefundAtProvider(
            payment_id=payment.payment_id,
            refund_id=refund.refund_id,
            provider_payment_id=refund.attempt,
            amount=Money(20_000),
        )
    ]


def test_a_part_of_a_cash_order_needs_no_refund() -> None:
    payment = a_cash_payment()
    settled(payment)

    payment.refund_part(Money(20_000), "no_vendor", NOW)

    assert payment.changes == []


def test_cash_for_a_cancelled_order_is_owed_back_by_hand() -> None:
    payment = a_cash_payment()
    payment.cancel("order_cancelled", NOW)
    settled(payment)

    payment.collect_cash(RUPEES_500, NOW)

    assert [type(event) for event in told(payment)] == [
        PaymentCaptured,
        RefundRequested,
        RefundFailed,
    ]
    assert intended(payment) == []


def test_another_amount_than_ours_is_refused() -> None:
    payment = a_ready_payment()

    with pytest.raises(AmountMismatchError):
        payment.learn(paid("pay_1", "captured", amount=Money(1_000)), NOW)

    assert payment.changes == []


def _cancelled() -> tuple[Payment, str]:
    payment = a_captured_payment()
    payment.cancel("order_cancelled", NOW)
    [refund_id] = payment.refunds
    return settled(payment), refund_id


def test_a_pending_refund_waits_for_the_provider() -> None:
    payment, refund_id = _cancelled()

    payment.learn(given_back("rfnd_1", "pending", receipt=refund_id), NOW)

    assert told(payment) == []
    assert (payment.status, payment.has_open_refund) == ("captured", True)


def test_a_processed_refund_is_settled_once() -> None:
    payment, refund_id = _cancelled()
    payment.learn(given_back("rfnd_1", "processed", receipt=refund_id), NOW)

    payment.learn(given_back("rfnd_1", "processed"), NOW)

    assert [type(event) for event in told(payment)] == [RefundSettled]
    assert (payment.status, payment.refunded) == ("refunded", RUPEES_500)


def test_a_pending_word_after_the_settlement_is_old_news() -> None:
    payment, refund_id = _cancelled()
    payment.learn(given_back("rfnd_1", "processed", receipt=refund_id), NOW)
    settled(payment)

    payment.learn(given_back("rfnd_1", "pending", receipt=refund_id), NOW)

    assert payment.changes == []


def test_a_refund_that_failed_may_be_processed_after_all() -> None:
    payment, refund_id = _cancelled()
    payment.learn(given_back("rfnd_1", "failed", receipt=refund_id), NOW)

    payment.learn(given_back("rfnd_1", "processed", receipt=refund_id), NOW)

    assert [type(event) for event in told(payment)] == [RefundFailed, RefundSettled]


def test_a_refused_refund_is_told_as_failed_and_the_money_stays() -> None:
    payment, refund_id = _cancelled()

    payment.answer_refund(refund_id, None, NOW)

    assert [type(event) for event in told(payment)] == [RefundFailed]
    assert (payment.status, payment.has_open_refund) == ("captured", False)


def test_the_providers_own_refund_takes_the_place_of_ours() -> None:
    payment, refund_id = _cancelled()
    [theirs] = given_back("rfnd_9", "processed").refunds

    payment.answer_refund(refund_id, theirs, NOW)

    [settled_event] = told(payment)
    assert isinstance(settled_event, RefundSettled)
    assert settled_event.refund_id == refund_id


def test_a_refund_that_belongs_to_another_is_not_taken_for_ours() -> None:
    payment = a_captured_payment()
    half = Money(25_000)
    payment.learn(given_back("rfnd_1", "processed", amount=half), NOW)
    payment.cancel("order_cancelled", NOW)
    refund_id = list(payment.refunds)[-1]
    settled(payment)
    [theirs] = given_back("rfnd_1", "processed", amount=half).refunds

    payment.answer_refund(refund_id, theirs, NOW)

    assert [type(event) for event in told(payment)] == [RefundFailed]


def test_a_like_refund_that_comes_before_ours_is_sent_is_taken_for_ours() -> None:
    payment, refund_id = _cancelled()

    payment.learn(given_back("rfnd_9", "processed"), NOW)

    [settled_event] = told(payment)
    assert isinstance(settled_event, RefundSettled)
    assert settled_event.refund_id == refund_id


def test_a_refusal_after_the_opening_is_no_news() -> None:
    payment = a_ready_payment()

    payment.refuse(NOW)

    assert payment.changes == []


def test_a_refund_by_the_providers_dashboard_is_booked() -> None:
    payment = a_captured_payment()

    payment.learn(given_back("rfnd_1", "processed", amount=Money(20_000)), NOW)

    assert [type(event) for event in told(payment)] == [RefundRequested, RefundSettled]
    assert payment.status == "partly_refunded"


def test_more_cannot_come_back_than_was_captured() -> None:
    payment = a_captured_payment()

    with pytest.raises(AmountMismatchError):
        payment.learn(given_back("rfnd_1", "processed", amount=Money(60_000)), NOW)


def test_a_refund_of_what_was_never_ours_is_no_matter_of_ours() -> None:
    payment = a_ready_payment()

    payment.learn(given_back("rfnd_1", "processed"), NOW)

    assert payment.changes == []


def test_the_providers_word_on_a_second_success_and_its_refund_comes_at_once() -> None:
    payment = a_captured_payment()
    second = paid("pay_2", "refunded", is_captured=True)
    back = given_back("rfnd_2", "processed", attempt="pay_2")

    payment.learn(ProviderNews(payments=second.payments, refunds=back.refunds), NOW)

    assert intended(payment) == []
    assert (payment.captured, payment.refunded) == (RUPEES_500 + RUPEES_500, RUPEES_500)
    assert payment.status == "captured"


def test_an_illegal_move_is_a_defect() -> None:
    payment = a_cash_payment()

    with pytest.raises(IllegalPaymentMoveError):
        payment.learn(paid("pay_1", "authorized"), NOW)


# Any order of news

ATTEMPTS = st.sampled_from(["pay_1", "pay_2", "pay_3"])
STATES = st.sampled_from(["created", "authorized", "captured", "refunded", "failed"])
Step = Callable[[Payment], None]


def _learn(news: ProviderNews) -> Step:
    return lambda payment: payment.learn(news, NOW)


def _answer(index: int, status: str) -> Step:
    def step(payment: Payment) -> None:
        names = list(payment.refunds)
        found = None
        if names and status != "refused":
            refund = payment.refunds[names[index % len(names)]]
            found = ProviderRefund(
                provider_refund_id=f"rfnd_of_{refund.refund_id}",
                provider_payment_id=refund.attempt,
                status=status,  # type: ignore[arg-type]  # drawn from the three that are allowed
                amount=refund.amount,
                receipt=refund.refund_id,
            )
        if names:
            payment.answer_refund(names[index % len(names)], found, NOW)

    return step


STEPS = st.one_of(
    st.builds(
        lambda name, state, is_captured: _learn(paid(name, state, is_captured=is_captured)),
        ATTEMPTS,
        STATES,
        st.booleans(),
    ),
    st.builds(
        _answer, st.integers(0, 3), st.sampled_from(["pending", "processed", "failed", "refused"])
    ),
    st.builds(lambda name: lambda payment: payment.capture_refused(name, NOW), ATTEMPTS),
    st.just(lambda payment: payment.cancel("order_cancelled", NOW)),
    st.just(lambda payment: payment.open("order_Provider1", NOW)),
)


ONE_STORY = (
    paid("pay_1", "failed"),
    paid("pay_1", "authorized"),
    paid("pay_1", "captured"),
    paid("pay_1", "captured"),
    paid("pay_2", "failed"),
)


@given(st.permutations(ONE_STORY))
def test_one_story_told_in_any_order_has_one_end(story: list[ProviderNews]) -> None:
    payment = a_ready_payment()

    for news in story:
        payment.learn(news, NOW)

    assert payment.status == "captured"
    assert [type(event) for event in told(payment)].count(PaymentCaptured) == 1
    assert [i for i in intended(payment) if isinstance(i, RefundAtProvider)] == []


@given(st.lists(STEPS, max_size=25))
def test_no_order_of_news_breaks_the_rules(steps: list[Step]) -> None:
    payment = a_ready_payment()

    for step in steps:
        step(payment)

    assert payment.refunded <= payment.captured
    assert len([i for i in intended(payment) if isinstance(i, RefundAtProvider)]) <= 3
    kept = [name for name in payment.attempts if payment.unreturned(name)]
    assert len(kept) <= (0 if payment.is_cancelled else 1)


@given(st.lists(STEPS, max_size=25))
def test_the_stored_facts_fold_to_the_same_payment(steps: list[Step]) -> None:
    payment = a_payment()
    payment.create(NOW)
    payment.open("order_Provider1", NOW)
    for step in steps:
        step(payment)

    again = a_payment()
    for change in payment.changes:
        again.apply(change.fact)

    payment.changes.clear()
    assert again == payment


@given(st.lists(STEPS, max_size=25), st.integers(0, 30))
def test_a_step_taken_twice_tells_the_world_nothing_new(steps: list[Step], place: int) -> None:
    payment = a_ready_payment()
    for step in steps:
        step(payment)
    last = steps[place % len(steps)] if steps else (lambda payment: None)
    last(payment)
    settled(payment)

    last(payment)

    assert payment.changes == []
