"""Names on the bus that are fixed for ever, the codec, envelopes, errors on the wire, schedules."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from bus.actor import ANONYMOUS, Actor, parse_actor
from bus.codec import MAX_PAYLOAD, convert, decoder, encode, plain, to_plain
from bus.envelope import Envelope, read_envelope, read_request
from bus.errors import (
    DeadlineError,
    FieldFault,
    MessageTooLargeError,
    RemoteError,
    UndecodableError,
    decode_error,
    encode_error,
)
from bus.identity import new_uuid7
from bus.message import UnownedMessageError, describe, one_token, slot_of, snake_case
from bus.schedules import ScheduleError, cron_headers, server_cron
from bus.streams import event_stream, part_of_slot, plugin_streams, shared_streams, work_stream
from kernel.errors import Conflict
from kernel.quantity import Quantity
from tests.sample_plugin.contract import AddToTally, GetTally, TallyChanged, TallyView


class TakenError(Conflict):
    """It is taken."""

    code = "sample.taken"


class Measured(Struct, frozen=True):
    """Something with a quantity."""

    quantity: Quantity


def test_the_names_of_messages_on_the_bus_never_change() -> None:
    command, query, event = describe(AddToTally), describe(GetTally), describe(TallyChanged)

    assert command.subject == "cmd.sample.add_to_tally.v1"
    assert command.work_subject == "work.sample.do.add_to_tally_v1"
    assert command.full_name == "sample.add_to_tally.v1"
    assert query.subject == "qry.sample.get_tally.v1"
    assert event.event_subject("a1") == "evt.sample.tally_changed.v1.3.a1"
    assert (command.reply, query.reply, event.key) == (TallyView, TallyView, "tally_id")


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        ("", 0),
        ("a1", 3),
        ("order_01k9z7x3c8e4m9r2t5v6w7y8z0", 13),
        ("offer_01k9z7x3c8e4m9r2t5v6w7y8z0", 9),
        ("user_01k9z7x3c8e4m9r2t5v6w7y8z0", 10),
    ],
)
def test_the_slot_of_a_key_never_changes(key: str, slot: int) -> None:
    assert slot_of(key) == slot


@given(st.text())
def test_every_key_has_a_slot_of_sixteen_in_one_of_four_parts(key: str) -> None:
    assert 0 <= slot_of(key) < 16
    assert 0 <= part_of_slot(slot_of(key)) < 4


@pytest.mark.parametrize(
    ("name", "snake"),
    [("PlaceOrder", "place_order"), ("GetKYCState", "get_kyc_state"), ("Ping", "ping")],
)
def test_class_names_become_snake_case(name: str, snake: str) -> None:
    assert snake_case(name) == snake


@pytest.mark.parametrize("wild", ["", "a.b", "a b", "*", ">", "a\n", "é", "x" * 201])
def test_a_text_that_would_change_a_subject_is_refused(wild: str) -> None:
    with pytest.raises(ValueError, match="part of a subject"):
        one_token(wild)
    with pytest.raises(ValueError, match="part of a subject"):
        describe(TallyChanged).event_subject(wild)


def test_a_message_in_a_module_without_an_owner_is_refused() -> None:
    class Orphan(TallyChanged, frozen=True, kw_only=True):
        """Nobody's."""

    with pytest.raises(UnownedMessageError, match="OWNER"):
        describe(Orphan)


def test_the_names_of_streams_never_change() -> None:
    assert (event_stream("order"), work_stream("order")) == ("EVT_ORDER", "WORK_ORDER")
    assert [s.subjects for s in plugin_streams("order")] == [("evt.order.>",), ("work.order.>",)]
    assert [s.name for s in shared_streams()] == ["DLQ", "AUDIT"]


def test_streams_of_facts_have_no_limits_and_no_deletes() -> None:
    facts = plugin_streams("order")[0].config()

    assert (facts["max_age"], facts["deny_delete"], facts["deny_purge"]) == (0, True, True)
    assert not {"max_msgs", "max_bytes", "max_msgs_per_subject"} & set(facts)


@given(st.text(max_size=64).filter(bool), st.integers(-1_000_000, 1_000_000))
def test_a_message_survives_the_way_over_the_bus(tally_id: str, number: int) -> None:
    message = AddToTally(tally_id=tally_id, number=number)

    assert decoder(AddToTally)(encode(message)) == message
    assert convert(to_plain(message), AddToTally) == message


def test_fields_of_the_future_are_passed_over() -> None:
    message = decoder(AddToTally)(b'{"tally_id": "t", "number": 1, "mood": "good"}')

    assert message == AddToTally(tally_id="t", number=1)


@pytest.mark.parametrize(
    "number", ["NaN", "Infinity", "1e400000000", "-1", "0", "1.0001", "1000000.001", '"2"', "true"]
)
def test_a_number_that_is_no_quantity_is_refused_by_field(number: str) -> None:
    with pytest.raises(UndecodableError):
        decoder(Measured)(b'{"quantity": %b}' % number.encode())


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00",
        b"\xff\xfe",
        b"{",
        b"[" * 100_000,
        b'{"tally_id":' * 5_000,
        b'{"tally_id": "t", "number": 1e400000000}',
        b'{"tally_id": "t", "number": ' + b"9" * 5_000 + b"}",
    ],
    ids=["nothing", "NUL", "no UTF-8", "half", "deep", "deep objects", "huge", "long"],
)
def test_a_wild_payload_is_refused_and_breaks_nothing(payload: bytes) -> None:
    with pytest.raises(UndecodableError):
        decoder(AddToTally)(payload)


@given(st.binary(max_size=200))
def test_no_bytes_break_the_codec(payload: bytes) -> None:
    for read in (plain, decoder(AddToTally), decoder(Measured)):
        try:
            read(payload)
        except UndecodableError as refused:
            assert refused.status == 422  # noqa: PT017  both ways are right


def test_a_fault_names_its_field() -> None:
    with pytest.raises(UndecodableError) as refused:
        decoder(AddToTally)(b'{"tally_id": "t", "number": "x"}')

    assert refused.value.errors == (FieldFault("number", "Expected `int`, got `str`"),)


def test_a_message_over_one_mebibyte_is_refused() -> None:
    with pytest.raises(MessageTooLargeError):
        encode("x" * MAX_PAYLOAD)


TEXTS = st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=40)


@given(
    st.builds(
        Envelope,
        id=st.uuids(),
        type=TEXTS,
        source=TEXTS,
        time=st.datetimes(
            min_value=datetime(2000, 1, 1),  # noqa: DTZ001  Hypothesis adds the zone
            max_value=datetime(2100, 1, 1),  # noqa: DTZ001  as above
            timezones=st.just(UTC),
        ),
        correlation_id=TEXTS,
        subject=TEXTS,
        causation_id=TEXTS,
        traceparent=TEXTS,
        actor=TEXTS,
        token=TEXTS,
        timeout_ms=st.none() | st.integers(0, 10**6),
        version=st.none() | st.integers(0, 10**9),
        is_keyed=st.booleans(),
    )
)
def test_an_envelope_survives_its_headers(envelope: Envelope) -> None:
    assert read_envelope(envelope.to_headers()) == envelope


def test_headers_have_their_fixed_names() -> None:
    envelope = Envelope(
        id=new_uuid7(),
        type="sample.x.v1",
        source="sample",
        time=datetime(2026, 1, 1, tzinfo=UTC),
        correlation_id="c",
        subject="k",
        causation_id="b",
        traceparent="t",
        actor="user:u",
        token="x",
        timeout_ms=5,
        version=3,
        is_keyed=True,
    )

    assert envelope.to_headers() == {
        "ce-id": str(envelope.id),
        "ce-specversion": "1.0",
        "ce-type": "sample.x.v1",
        "ce-source": "sample",
        "ce-time": "2026-01-01T00:00:00+00:00",
        "ce-subject": "k",
        "traceparent": "t",
        "realserv-correlation-id": "c",
        "realserv-causation-id": "b",
        "realserv-actor": "user:u",
        "realserv-token": "x",
        "realserv-timeout-ms": "5",
        "realserv-version": "3",
        "realserv-keyed": "1",
    }


@given(
    st.dictionaries(
        st.sampled_from(["ce-id", "ce-time", "realserv-timeout-ms", "realserv-version"]), st.text()
    )
)
def test_no_headers_break_a_reader(headers: dict[str, str]) -> None:
    for read in (read_envelope, read_request):
        try:
            read(headers)
        except UndecodableError as refused:
            assert refused.status == 422  # noqa: PT017  both ways are right


def test_a_request_without_an_identity_gets_a_sortable_one_of_now() -> None:
    envelope = read_request({})

    assert envelope.id.version == 7
    assert datetime.now(UTC) - envelope.time < timedelta(seconds=5)


def test_an_error_survives_the_wire_with_all_that_it_says() -> None:
    error = TakenError("no", errors=(FieldFault("a", "b"),), retry_after=2.5)

    payload, headers = encode_error(error)
    found = decode_error(payload, headers)

    assert headers == {"Nats-Service-Error": "sample.taken", "Nats-Service-Error-Code": "409"}
    assert isinstance(found, RemoteError)
    assert found.to_wire() == error.to_wire()


def test_a_retryable_error_stays_retryable_over_the_wire() -> None:
    assert decode_error(*encode_error(DeadlineError())).to_wire().retryable is True


@pytest.mark.parametrize("status", ["503", "²", "", "x"])
def test_an_error_that_another_service_wrote_is_read_as_well(status: str) -> None:
    headers = {"Nats-Service-Error": "boom", "Nats-Service-Error-Code": status}

    wire = decode_error(b"plain text", headers).to_wire()

    assert (wire.code, wire.message) == ("boom", "boom")
    assert wire.status == {"503": 503}.get(status, 500)


@pytest.mark.parametrize(
    ("actor", "text"),
    [
        (ANONYMOUS, "anonymous"),
        (Actor(kind="user", id="user_1"), "user:user_1"),
        (Actor(kind="plugin", id="order"), "plugin:order"),
    ],
)
def test_an_actor_of_a_durable_message_is_kind_and_id(actor: Actor, text: str) -> None:
    assert (str(actor), parse_actor(text)) == (text, actor)


@pytest.mark.parametrize("text", ["", "root:1", "anonymous", ":", "USER:1"])
def test_an_actor_that_nobody_knows_is_anonymous(text: str) -> None:
    assert parse_actor(text) == ANONYMOUS


@pytest.mark.parametrize(
    ("cron", "server"),
    [("0 2 * * *", "0 0 2 * * *"), ("*/5 8-18 1,15 * 1-5", "0 */5 8-18 1,15 * 1-5")],
)
def test_five_fields_become_the_servers_six(cron: str, server: str) -> None:
    assert server_cron(cron) == server


@pytest.mark.parametrize(
    ("cron", "field"),
    [
        ("* * * *", "5 fields"),
        ("0 0 0 2 * *", "5 fields"),
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of month"),
        ("* * * 13 *", "month"),
        ("* * * * 7", "day of week"),
        ("5-2 * * * *", "minute"),
        ("*/0 * * * *", "minute"),
        ("MON * * * *", "minute"),
    ],
)
def test_a_cron_expression_that_nobody_can_follow_names_its_field(cron: str, field: str) -> None:
    with pytest.raises(ScheduleError, match=field):
        server_cron(cron)


def test_a_schedule_names_its_time_zone_and_a_wrong_one_is_refused() -> None:
    headers = cron_headers("0 2 * * *", "Asia/Kolkata", "work.a.do.job_b")

    with pytest.raises(ZoneInfoNotFoundError, match="Atlantis"):
        cron_headers("0 2 * * *", "Sea/Atlantis", "x")

    assert headers["Nats-Schedule-Time-Zone"] == "Asia/Kolkata"
