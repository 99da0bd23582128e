"""The suite that every payment provider's adapter must pass, here Razorpay's against its strict stand-in."""

import asyncio
from datetime import timedelta

import pytest

from kernel.errors import Unavailable
from kernel.money import Money
from plugins.payment.adapters.razorpay import RazorpayProvider, razorpay
from plugins.payment.errors import (
    ProviderCredentialsError,
    ProviderRefusedError,
    RefundInFlightError,
)
from plugins.payment.provider import PaymentProvider
from tests.integration.payment.conftest import StandIn, settings_for

RUPEES_500 = Money(50_000)
KEY = "01980000-0000-7000-8000-000000000001"


async def an_authorized_payment(provider: PaymentProvider, standin: StandIn) -> str:
    order_id = await provider.open_order(receipt="payment_a", amount=RUPEES_500)
    paid = await standin.pay(order_id)
    name: str = paid["razorpay_payment_id"]
    return name


async def a_captured_payment(provider: PaymentProvider, standin: StandIn) -> str:
    name = await an_authorized_payment(provider, standin)
    await provider.capture(name, amount=RUPEES_500)
    return name


async def test_an_order_is_found_by_its_receipt(provider: RazorpayProvider) -> None:
    order_id = await provider.open_order(receipt="payment_a", amount=RUPEES_500)
    await provider.open_order(receipt="payment_b", amount=RUPEES_500)

    found = await provider.find_order(receipt="payment_a", amount=RUPEES_500)

    assert found == order_id


async def test_an_order_that_was_never_opened_is_not_found(provider: RazorpayProvider) -> None:
    assert await provider.find_order(receipt="payment_a", amount=RUPEES_500) is None


async def test_opening_with_the_same_receipt_opens_one_order(
    provider: RazorpayProvider, standin: StandIn
) -> None:
    first = await provider.open_order(receipt="payment_a", amount=RUPEES_500)

    second = await provider.open_order(receipt="payment_a", amount=RUPEES_500)

    assert first == second
    assert len((await standin.books())["orders"]) == 1


async def test_an_order_whose_answer_was_lost_is_found(
    provider: RazorpayProvider, standin: StandIn
) -> None:
    await standin.set("/standin/faults", lose_answers=1)
    with pytest.raises(Unavailable):
        await provider.open_order(receipt="payment_a", amount=RUPEES_500)

    found = await provider.find_order(receipt="payment_a", amount=RUPEES_500)

    [order] = (await standin.books())["orders"]
    assert found == order["id"]


async def test_less_than_a_rupee_is_refused(provider: RazorpayProvider) -> None:
    with pytest.raises(ProviderRefusedError, match="at least INR"):
        await provider.open_order(receipt="payment_a", amount=Money(99))


async def test_a_receipt_that_is_too_long_is_refused(provider: RazorpayProvider) -> None:
    with pytest.raises(ProviderRefusedError, match="40"):
        await provider.open_order(receipt="x" * 41, amount=RUPEES_500)


async def test_a_wrong_key_is_a_matter_of_credentials(standin: StandIn) -> None:
    async with razorpay(settings_for(standin.base_url, key_id="rzp_test_2")) as provider:
        with pytest.raises(ProviderCredentialsError):
            await provider.open_order(receipt="payment_a", amount=RUPEES_500)


async def test_a_payment_is_authorised_until_we_capture_it(
    provider: RazorpayProvider, standin: StandIn
) -> None:
    name = await an_authorized_payment(provider, standin)

    found = await provider.payment(name)

    assert (found.status, found.amount, found.was_captured) == ("authorized", RUPEES_500, False)


async def test_the_whole_amount_is_captured(provider: RazorpayProvider, standin: StandIn) -> None:
    name = await an_authorized_payment(provider, standin)

    found = await provider.capture(name, amount=RUPEES_500)

    assert found.status == "captured"
    [order] = (await standin.books())["orders"]
    assert (order["status"], order["amount_due"]) == ("paid", 0)


async def test_a_part_is_not_captured(provider: RazorpayProvider, standin: StandIn) -> None:
    name = await an_authorized_payment(provider, standin)

    with pytest.raises(ProviderRefusedError, match="equal to the amount authorized"):
        await provider.capture(name, amount=Money(40_000))


async def test_nothing_is_captured_twice(provider: RazorpayProvider, standin: StandIn) -> None:
    name = await a_captured_payment(provider, standin)

    with pytest.raises(ProviderRefusedError, match="already been captured"):
        await provider.capture(name, amount=RUPEES_500)


async def test_what_failed_is_not_captured(provider: RazorpayProvider, standin: StandIn) -> None:
    order_id = await provider.open_order(receipt="payment_a", amount=RUPEES_500)
    paid = await standin.pay(order_id, outcome="fail")

    with pytest.raises(ProviderRefusedError):
        await provider.capture(paid["razorpay_payment_id"], amount=RUPEES_500)


async def test_a_refund_is_pending_first(provider: RazorpayProvider, standin: StandIn) -> None:
    name = await a_captured_payment(provider, standin)

    refund = await provider.refund(name, amount=RUPEES_500, receipt="refund_a", idempotency_key=KEY)

    assert (refund.status, refund.amount, refund.receipt) == ("pending", RUPEES_500, "refund_a")


async def test_the_same_refund_again_is_the_same_refund(
    provider: RazorpayProvider, standin: StandIn
) -> None:
    name = await a_captured_payment(provider, standin)
    first = await provider.refund(name, amount=RUPEES_500, receipt="refund_a", idempotency_key=KEY)

    second = await provider.refund(name, amount=RUPEES_500, receipt="refund_a", idempotency_key=KEY)

    assert first == second
    assert len((await standin.books())["refunds"]) == 1


async def test_a_refund_whose_answer_was_lost_is_repeated_without_harm(
    provider: RazorpayProvider, standin: StandIn
) -> None:
    name = await a_captured_payment(provider, standin)
    await standin.set("/standin/faults", lose_answers=2)

    refund = await provider.refund(name, amount=RUPEES_500, receipt="refund_a", idempotency_key=KEY)

    [booked] = (await standin.books())["refunds"]
    assert refund.provider_refund_id == booked["id"]


async def test_the_key_of_one_refund_does_not_serve_another(
    provider: RazorpayProvider, standin: StandIn
) -> None:
    name = await a_captured_payment(provider, standin)
    await provider.refund(name, amount=Money(10_000), receipt="refund_a", idempotency_key=KEY)

    with pytest.raises(ProviderRefusedError, match="same idempotency key"):
        await provider.refund(name, amount=Money(20_000), receipt="refund_a", idempotency_key=KEY)


async def test_a_refund_in_flight_is_to_be_asked_again(standin: StandIn) -> None:
    async with razorpay(settings_for(standin.base_url, retries=0)) as provider:
        name = await a_captured_payment(provider, standin)
        await standin.set("/standin/faults", latency=0.5, refund_after=-1)
        first = asyncio.create_task(
            provider.refund(name, amount=RUPEES_500, receipt="refund_a", idempotency_key=KEY)
        )
        await asyncio.sleep(0.2)

        with pytest.raises(RefundInFlightError):
            await provider.refund(name, amount=RUPEES_500, receipt="refund_a", idempotency_key=KEY)

        assert (await first).status == "pending"


async def test_more_than_was_captured_is_not_refunded(
    provider: RazorpayProvider, standin: StandIn
) -> None:
    name = await a_captured_payment(provider, standin)

    with pytest.raises(ProviderRefusedError, match="greater than amount captured"):
        await provider.refund(name, amount=Money(50_001), receipt="r", idempotency_key=KEY)


async def test_what_is_not_captured_is_not_refunded(
    provider: RazorpayProvider, standin: StandIn
) -> None:
    name = await an_authorized_payment(provider, standin)

    with pytest.raises(ProviderRefusedError, match="captured"):
        await provider.refund(name, amount=RUPEES_500, receipt="r", idempotency_key=KEY)


async def test_news_of_an_order_tells_all_tries_and_refunds(
    provider: RazorpayProvider, standin: StandIn
) -> None:
    order_id = await provider.open_order(receipt="payment_a", amount=RUPEES_500)
    await standin.pay(order_id, outcome="fail")
    paid = await standin.pay(order_id)
    await provider.capture(paid["razorpay_payment_id"], amount=RUPEES_500)
    await provider.refund(
        paid["razorpay_payment_id"], amount=Money(20_000), receipt="r", idempotency_key=KEY
    )

    news = await provider.news_of_order(order_id)

    assert {payment.status for payment in news.payments} == {"failed", "captured"}
    assert [refund.amount for refund in news.refunds] == [Money(20_000)]


async def test_an_authorisation_that_ran_out_was_never_ours(
    provider: RazorpayProvider, standin: StandIn
) -> None:
    name = await an_authorized_payment(provider, standin)

    await standin.do(f"/standin/payments/{name}/expire")

    found = await provider.payment(name)
    assert (found.status, found.was_captured) == ("refunded", False)


async def test_a_throttled_call_is_trouble_and_not_an_answer(standin: StandIn) -> None:
    await standin.set("/standin/faults", throttle_next=1)
    async with razorpay(settings_for(standin.base_url, retries=0)) as provider:
        with pytest.raises(Unavailable):
            await provider.find_order(receipt="r", amount=RUPEES_500)


async def test_reading_goes_on_after_a_short_absence(
    provider: RazorpayProvider, standin: StandIn
) -> None:
    await standin.set("/standin/faults", fail_next=1)

    assert await provider.find_order(receipt="r", amount=RUPEES_500) is None


async def test_a_provider_that_does_not_answer_is_given_up_in_time(standin: StandIn) -> None:
    await standin.set("/standin/faults", latency=5)
    settings = settings_for(standin.base_url, retries=0, timeout=timedelta(milliseconds=200))
    async with razorpay(settings) as provider:
        with pytest.raises(Unavailable):
            await provider.find_order(receipt="r", amount=RUPEES_500)


async def test_a_provider_that_fails_five_times_is_left_alone(standin: StandIn) -> None:
    await standin.set("/standin/faults", fail_next=5)
    async with razorpay(settings_for(standin.base_url, retries=0)) as provider:
        for _ in range(5):
            with pytest.raises(Unavailable):
                await provider.find_order(receipt="r", amount=RUPEES_500)

        with pytest.raises(Unavailable, match="left alone"):
            await provider.find_order(receipt="r", amount=RUPEES_500)
