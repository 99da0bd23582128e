"""Passwords: which are refused, and the bounded pool that hashes them."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st

from plugins.identity.errors import HashingBusyError
from plugins.identity.passwords import COMMON, PasswordPool, normalised, weakness_of

EMAIL = "asha@buyer.example"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class StuckHasher(PasswordHasher):
    """Hashes only when it is let go, but for the first hash, which the pool makes for nobody."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.go = threading.Event()
        self.is_first = True

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        if not self.is_first:
            self.go.wait(10)
        self.is_first = False
        return super().hash(password, salt=salt)


@pytest.fixture
async def pool() -> AsyncIterator[PasswordPool]:
    pool = PasswordPool(CHEAP, workers=1, queue=4)
    yield pool
    await pool.close()


@pytest.mark.parametrize("password", ["password123", "PassWord123", "1q2w3e4r5t", "Welcome@123"])
def test_common_passwords_are_refused_in_any_case(password: str) -> None:
    assert weakness_of(password, email=EMAIL) == "is one of the most common passwords"


def test_a_common_password_in_wide_letters_is_still_common() -> None:
    assert (
        weakness_of("ｐａｓｓｗｏｒｄ１２３", email=EMAIL) == "is one of the most common passwords"
    )


def test_a_password_of_few_characters_is_refused() -> None:
    assert weakness_of("abababababab", email=EMAIL) == "repeats too few characters"


def test_the_email_is_no_password() -> None:
    assert weakness_of("Asha@Buyer.example", email=EMAIL) == "is the e-mail address"


def test_a_long_sentence_is_a_good_password() -> None:
    assert weakness_of("seven bags of cement", email=EMAIL) is None


def test_the_common_passwords_are_such_as_the_length_lets_through() -> None:
    assert {word for word in COMMON if len(word) < 10 or word != word.casefold()} == set()


@given(st.text(max_size=200))
def test_normalising_twice_is_the_same_as_once(password: str) -> None:
    assert normalised(normalised(password)) == normalised(password)


async def test_the_right_password_is_recognised(pool: PasswordPool) -> None:
    password_hash = await pool.hash("seven bags of cement")

    assert password_hash.startswith("$argon2id$")
    assert await pool.verify(password_hash, "seven bags of cement")


async def test_a_wrong_password_is_not(pool: PasswordPool) -> None:
    password_hash = await pool.hash("seven bags of cement")

    assert not await pool.verify(password_hash, "eight bags of cement")


async def test_a_password_typed_on_another_keyboard_is_the_same(pool: PasswordPool) -> None:
    password_hash = await pool.hash("cafe\u0301 and cement")

    assert await pool.verify(password_hash, "caf\u00e9 and cement")


async def test_nobody_has_even_the_password_of_nobody(pool: PasswordPool) -> None:
    assert not await pool.verify(None, "the password of nobody")


async def test_a_hash_of_other_parameters_is_outdated(pool: PasswordPool) -> None:
    older = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash("seven bags of cement")

    assert pool.is_outdated(older)
    assert not pool.is_outdated(await pool.hash("seven bags of cement"))


async def test_one_more_than_the_pool_takes_is_refused_at_once_and_may_come_again() -> None:
    hasher = StuckHasher()
    pool = PasswordPool(hasher, workers=1, queue=2)
    taken = [asyncio.create_task(pool.hash("seven bags of cement")) for _ in range(3)]
    await asyncio.sleep(0)

    with pytest.raises(HashingBusyError) as refusal:
        await pool.hash("seven bags of cement")

    assert (refusal.value.status, refusal.value.retryable, refusal.value.retry_after) == (
        503,
        True,
        1,
    )
    hasher.go.set()
    assert len(await asyncio.gather(*taken)) == 3
    assert await pool.hash("seven bags of cement")
    await pool.close()


async def test_a_cancelled_caller_holds_the_place_until_its_thread_is_done() -> None:
    hasher = StuckHasher()
    pool = PasswordPool(hasher, workers=1, queue=0)
    given_up = asyncio.create_task(pool.hash("seven bags of cement"))
    await asyncio.sleep(0.05)
    given_up.cancel()
    with suppress(asyncio.CancelledError):
        await given_up

    with pytest.raises(HashingBusyError):
        await pool.hash("seven bags of cement")

    hasher.go.set()
    await pool.close()
