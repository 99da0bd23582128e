"""The kernel's small parts: ids, money, quantities, moves, pages, statements, retries, logs, tokens."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import RFC_4122, UUID, uuid4

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from bus.actor import Actor
from bus.errors import FieldFault, ServiceError
from kernel.dead_letters import failures_of
from kernel.errors import Conflict, Invalid, Unavailable
from kernel.geo import Pincode
from kernel.ids import Id, derived_uuid, new_uuid7, time_of, to_uuid, to_wire
from kernel.logs import mask, mask_text
from kernel.money import Money, check_price, total
from kernel.moves import legal_moves
from kernel.outbox import Cause, OutboxWriter
from kernel.paging import open_cursor, seal_cursor
from kernel.quantity import Quantity, QuantityChange, StockLevel
from kernel.retries import LATER, delay_after, is_worth_retrying
from kernel.settings import Secret
from kernel.sql import statement
from kernel.text import Email, Line, Word
from kernel.tokens import BusTokenError, TokenMint, TokenVerifier
from tests.sample_plugin.contract import NoteTally, RingBell, TallyChanged

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_a_derived_id_is_the_same_for_ever() -> None:
    assert str(derived_uuid(NOON, "a", "b")) == "01a1f8d3-ea00-7a07-91b0-a88dc07da4f4"


@given(st.lists(st.text(), min_size=1), st.lists(st.text(), min_size=1))
def test_different_parts_make_different_ids(first: list[str], second: list[str]) -> None:
    same = derived_uuid(NOON, *first) == derived_uuid(NOON, *second)

    assert same == ("\x1f".join(first) == "\x1f".join(second))


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2200, 1, 1)))  # noqa: DTZ001
def test_an_id_carries_its_time_and_sorts_by_it(naive: datetime) -> None:
    at = naive.replace(tzinfo=UTC)
    earlier, later = derived_uuid(at, "x"), derived_uuid(at + timedelta(milliseconds=2), "x")

    assert abs(time_of(earlier) - at) <= timedelta(milliseconds=1)
    assert earlier < later
    assert to_wire("order", earlier) < to_wire("order", later)
    assert (earlier.version, earlier.variant) == (7, RFC_4122)


@given(st.uuids())
def test_every_uuid_has_some_time(value: UUID) -> None:
    assert time_of(value).tzinfo is UTC


def test_a_uuid_without_a_time_has_a_fixed_one() -> None:
    assert time_of(uuid4()) == datetime(2020, 1, 1, tzinfo=UTC)


@given(st.uuids())
def test_an_id_survives_its_wire_form(value: UUID) -> None:
    assert to_uuid(to_wire("order", value)) == value


@pytest.mark.parametrize("text", ["", "order_", "order_zz", "order_" + "z" * 26, "é" * 30, "x\x00"])
def test_a_text_that_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        to_uuid(text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Line, "Asha"),
        (Word, "OPC"),
        (Email, "asha@buyer.example"),
        (Pincode, "500081"),
        (Id, "order_01k9z7x3c8e4m9r2t5v6w7y8z0"),
    ],
)
def test_a_text_that_ends_in_a_line_feed_is_another_text(kind: Any, text: str) -> None:
    assert msgspec.convert(text, kind) == text
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text + "\n", kind)


@given(
    st.integers(-(10**12), 10**12),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=30),
)
def test_the_parts_of_a_sum_always_add_up(amount: int, weights: list[int]) -> None:
    whole = Money(amount)

    parts = whole.split(weights)

    assert total(parts) == whole
    assert len(parts) == len(weights)
    assert all(part.amount * whole.amount >= 0 for part in parts)


@given(st.integers(0, 10**9), st.lists(st.integers(1, 1000), min_size=2, max_size=9))
def test_no_part_is_off_by_a_paisa_or_more(amount: int, weights: list[int]) -> None:
    parts = Money(amount).split(weights)

    exact = [amount * weight / sum(weights) for weight in weights]
    assert all(
        abs(part.amount - share) < 1 + 1e-6 for part, share in zip(parts, exact, strict=True)
    )


def test_equal_remainders_go_to_the_earlier_part() -> None:
    assert [part.amount for part in Money(100).split([1, 1, 1])] == [34, 33, 33]
    assert [part.amount for part in Money(-100).split([0, 0, 0])] == [-34, -33, -33]


@pytest.mark.parametrize("weights", [[], [1, -1]])
def test_a_sum_is_not_split_by_wrong_weights(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        Money(1).split(weights)


@pytest.mark.parametrize(
    ("amount", "points", "share"), [(100, 250, 3), (-100, 250, -3), (99, 1800, 18), (0, 10_000, 0)]
)
def test_a_share_is_rounded_half_up_on_the_absolute_value(
    amount: int, points: int, share: int
) -> None:
    assert Money(amount).share(points) == Money(share)


@pytest.mark.parametrize("amount", [0, -1, 10**11 + 1])
def test_a_price_out_of_bounds_is_refused(amount: int) -> None:
    with pytest.raises(ValueError, match="price"):
        check_price(Money(amount))


@given(st.integers(1, 10**9))
def test_a_quantity_survives_its_wire_form(thousandths: int) -> None:
    quantity = Quantity(thousandths)

    assert Quantity.__from_wire__(quantity.__to_wire__()) == quantity


@given(st.floats() | st.integers() | st.booleans() | st.text() | st.none())
def test_whatever_is_accepted_as_a_quantity_is_within_its_bounds(value: Any) -> None:
    try:
        accepted = Quantity.__from_wire__(value).thousandths
    except ValueError:
        accepted = 1

    assert 0 < accepted <= 10**9


@pytest.mark.parametrize(("kind", "wire"), [(StockLevel, 0), (QuantityChange, -1.5)])
def test_levels_may_be_nothing_and_changes_negative(kind: type[Quantity], wire: float) -> None:
    assert kind.__from_wire__(wire).__to_wire__() == wire


def test_the_price_of_a_quantity_is_rounded_half_up() -> None:
    assert Quantity(1500).price(Money(333)) == Money(500)


def test_moves_allow_what_their_table_says() -> None:
    moves = legal_moves({"placed": {"confirmed"}, "confirmed": set()})

    assert moves.allows("placed", "confirmed")
    assert not moves.allows("confirmed", "placed")
    assert moves.diagram().splitlines() == [
        "stateDiagram-v2",
        "    [*] --> placed",
        "    placed --> confirmed",
        "    confirmed --> [*]",
    ]


def test_a_state_without_a_row_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match="lost"):
        legal_moves({"placed": {"lost"}})


@given(st.text(max_size=50), st.integers(-(2**60), 2**60))
def test_a_cursor_survives_sealing(name: str, number: int) -> None:
    assert open_cursor(seal_cursor(name, number), str, int) == (name, number)


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"])
def test_a_cursor_beyond_the_calendar_is_refused(moment: str) -> None:
    with pytest.raises(Invalid):
        open_cursor(seal_cursor(moment, "x"), datetime, str)


@given(st.text(max_size=100))
def test_a_cursor_of_others_is_refused(cursor: str) -> None:
    try:
        opened = open_cursor(cursor, str, int)
    except Invalid as refused:
        assert refused.errors[0].field == "cursor"  # noqa: PT017  both ways are right
    else:
        assert seal_cursor(*opened)


def test_a_statement_puts_its_parameters_in_their_places() -> None:
    select = statement("SELECT :b, :a, :b")

    assert select.sql == "SELECT $1, $2, $1"
    assert select.arguments({"a": 1, "b": None}) == [None, 1]


@pytest.mark.parametrize("params", [{}, {"a": 1}, {"a": 1, "b": 2, "c": 3}, {"a": 1, "c": 2}])
def test_a_statement_refuses_missing_and_unknown_parameters(params: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="statement"):
        statement("SELECT :a, :b").arguments(params)


def test_waits_grow_with_jitter_and_end() -> None:
    waits = [delay_after(failures) or 0 for failures in range(1, len(LATER) + 1)]

    assert all(0.8 * base <= wait <= 1.2 * base for base, wait in zip(LATER, waits, strict=True))
    assert delay_after(len(LATER) + 1) is None
    assert delay_after(1) != delay_after(1)


@pytest.mark.parametrize(
    ("error", "is_worth_it"),
    [(Conflict(), False), (Invalid(), False), (Unavailable(), True), (KeyError(), True)],
)
def test_a_refusal_is_not_worth_retrying(error: Exception, is_worth_it: bool) -> None:
    assert is_worth_retrying(error) is is_worth_it


@pytest.mark.parametrize(
    ("text", "count"), [("3", 3), ("", 0), ("-1", 0), ("²", 0), ("9" * 5000, 0)]
)
def test_counted_failures_are_read_from_any_header(text: str, count: int) -> None:
    assert failures_of({"realserv-failures": text}) == count


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("to asha@buyer.example now", "to *** now"),
        ("call +919876543210", "call ***"),
        ("postgresql://user:pw@host/db", "postgresql://***@host/db"),
        ("nothing here", "nothing here"),
    ],
)
def test_personal_data_in_log_texts_is_masked(text: str, masked: str) -> None:
    assert mask_text(text) == masked


@pytest.mark.parametrize("name", ["password", "access_token", "Authorization", "email", "phone"])
def test_secrets_in_logs_are_masked_by_name(name: str) -> None:
    assert mask(None, "info", {name: "x", "order_id": "o"}) == {name: "***", "order_id": "o"}


def test_a_secret_prints_as_stars() -> None:
    assert f"{Secret('x')} {Secret('x')!r}" == "Secret(***) Secret(***)"
    assert Secret("x").reveal() == "x"


def a_writer(identity: UUID) -> OutboxWriter:
    cause = Cause(identity, "sample.handler", "sample", "c", "user:u", "")
    return OutboxWriter(cause, NOON)


def said_by(writer: OutboxWriter) -> list[tuple[str, UUID, str]]:
    writer.emit(TallyChanged(tally_id="t", number=1), 3)
    writer.tell(NoteTally(tally_id="t"))
    writer.later(RingBell(tally_id="t"), NOON, "bell")
    writer.cancel("sample", "bell")
    return [(row.kind, row.ce_id, row.subject) for row in writer.rows]


def test_what_a_second_run_says_has_the_same_identities() -> None:
    identity = new_uuid7()

    first, second = said_by(a_writer(identity)), said_by(a_writer(identity))

    assert first == second
    assert len({ce_id for _, ce_id, _ in first}) == 4
    assert said_by(a_writer(new_uuid7())) != first
    assert [time_of(ce_id) for _, ce_id, _ in first] == [time_of(identity)] * 4


@pytest.mark.parametrize("timer", ["", "a b", "a.b", "*", ">"])
def test_a_timer_of_a_wild_name_is_refused(timer: str) -> None:
    with pytest.raises(ValueError, match="part of a subject"):
        a_writer(new_uuid7()).later(RingBell(tally_id="t"), NOON, timer)


AN_ACTOR = Actor(
    kind="user", id="user_1", roles=("buyer",), permissions=frozenset({"orders:read"}), session="s"
)


def a_verifier(*mints: TokenMint) -> TokenVerifier:
    async def keys() -> Mapping[str, bytes]:
        return {mint.kid: mint.public_key for mint in mints}

    return TokenVerifier(keys)


async def test_a_token_brings_its_actor_over_the_bus() -> None:
    mint = TokenMint()

    assert await a_verifier(mint).verify(mint.mint(AN_ACTOR)) == AN_ACTOR


def _claims(**overrides: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "iss": "realserv-gateway",
        "aud": "bus",
        "exp": now + timedelta(minutes=1),
        "sub": "user_1",
        "kind": "user",
        "roles": [],
        "permissions": ["everything"],
        "sid": "",
        **overrides,
    }


def _signed(mint: TokenMint, **overrides: Any) -> str:
    return jwt.encode(_claims(**overrides), mint._key, "EdDSA", {"kid": mint.kid})


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda mint: TokenMint().mint(AN_ACTOR), id="another key"),
        pytest.param(
            lambda mint: jwt.encode(
                _claims(), Ed25519PrivateKey.generate(), "EdDSA", {"kid": mint.kid}
            ),
            id="forged under a published key's name",
        ),
        pytest.param(lambda mint: mint.mint(AN_ACTOR, timedelta(seconds=-1)), id="expired"),
        pytest.param(
            lambda mint: jwt.encode(_claims(), "", "none", {"kid": mint.kid}), id="alg none"
        ),
        pytest.param(
            lambda mint: jwt.encode(_claims(), "k" * 32, "HS256", {"kid": mint.kid}), id="HS256"
        ),
        pytest.param(lambda mint: _signed(mint, aud="realserv"), id="another audience"),
        pytest.param(lambda mint: _signed(mint, iss="identity"), id="another issuer"),
        pytest.param(lambda mint: mint.mint(AN_ACTOR)[:-4] + "AAAA", id="changed"),
        pytest.param(lambda mint: "", id="empty"),
        pytest.param(lambda mint: "a.b.c", id="no token"),
    ],
)
async def test_a_token_that_no_gateway_signed_for_the_bus_is_refused(forge: Any) -> None:
    mint = TokenMint()

    with pytest.raises(BusTokenError):
        await a_verifier(mint).verify(forge(mint))


def test_an_error_without_words_says_its_title() -> None:
    error = Conflict(errors=(FieldFault("a", "b"),))

    assert isinstance(error, ServiceError)
    assert (error.message, error.to_wire().errors) == (Conflict.title, (FieldFault("a", "b"),))
