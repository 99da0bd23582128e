"""Passwords: which are refused, and how they are hashed without stopping everything else.

The rules are those of NIST SP 800-63B: a length, a list of the most common ones, and nothing about
digits or signs. Hashing is argon2id in threads of its own: it takes a core and tens of MiB for
about a tenth of a second, so what waits is bounded, and one more is refused at once.
"""

import asyncio
import os
import threading
import unicodedata
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import VerifyMismatchError

from plugins.identity.errors import HashingBusyError
from plugins.identity.settings import IdentitySettings

T = TypeVar("T")

COMMON: Final = frozenset(
    """
    0000000000 0123456789 0987654321 1111111111 1122334455 12345678900 1234567890 1234567891
    12345678910 123456789a 1234567890q 1234qwerasdf 147258369a 1q2w3e4r5t 1q2w3e4r5t6y 1qaz2wsx3edc
    9876543210 987654321a abc123456789 abcd123456 abcdef123456 abcdefghij administrator asdfghjkl1
    asdfghjkl; changeme123 computer123 football123 hyderabad1 hyderabad123 iloveyou12 iloveyou123
    india12345 india123456 letmein123 letmein1234 liverpool1 mynameis123 password01 password10
    password11 password12 password123 password1234 password12345 password2024 password2025
    password@123 passw0rd123 p@ssw0rd123 princess12 princess123 q1w2e3r4t5 q1w2e3r4t5y6 qazwsxedcrfv
    qwerty12345 qwerty123456 qwertyuiop qwertyuiop1 qwertyuiop123 samsung123 sunshine123
    superman123 welcome123 welcome1234 welcome@123 whatever123 zaq12wsxcde3 zxcvbnm123 admin12345
    admin123456 admin@1234 realserv123
    """.split()  # noqa: SIM905  a list of words reads better than seventy quoted ones
)
"""Passwords of ten characters and more that people choose most, and attackers try first."""


def weakness_of(password: str, *, email: str) -> str | None:
    """Say why a password is refused, or None. Its length is checked where it enters."""
    plain = normalised(password).casefold()
    if plain in COMMON:
        return "is one of the most common passwords"
    if len(set(plain)) < 4:
        return "repeats too few characters"
    if plain == email.casefold():
        return "is the e-mail address"
    return None


def normalised(password: str) -> str:
    """Return the one form of a password that keyboards write in several (NFKC, as NIST advises)."""
    return unicodedata.normalize("NFKC", password)


class PasswordPool:
    """Hashes and checks passwords in at most ``workers`` threads, with at most ``queue`` waiting."""

    def __init__(self, hasher: PasswordHasher, *, workers: int, queue: int) -> None:
        self._hasher = hasher
        self._limit = workers + queue
        self._admitted = 0
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="argon2")
        self._nobody = hasher.hash("the password of nobody")

    async def hash(self, password: str) -> str:
        """Return the argon2id hash; raises HashingBusyError when too many wait."""
        return await self._run(lambda: self._hasher.hash(normalised(password)))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Check a password. Without a hash it takes the same time, and the answer is no."""
        known = password_hash is not None
        matches = await self._run(
            lambda: self._matches(password_hash or self._nobody, normalised(password))
        )
        return known and matches

    def is_outdated(self, password_hash: str) -> bool:
        """Tell whether a hash was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(password_hash)

    async def close(self) -> None:
        """Wait for what is being hashed and stop the threads; what waits is cancelled."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except VerifyMismatchError:
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        with self._lock:
            if self._admitted >= self._limit:
                raise HashingBusyError
            self._admitted += 1
        future = self._threads.submit(work)
        future.add_done_callback(self._leave)
        return await asyncio.wrap_future(future)

    def _leave(self, _: "Future[T]") -> None:
        """Free the place: only now, for a thread works on when its caller was cancelled."""
        with self._lock:
            self._admitted -= 1


@asynccontextmanager
async def password_pool(settings: IdentitySettings) -> AsyncIterator[PasswordPool]:
    """Open the pool that the settings describe: a thread per core unless they say otherwise."""
    hasher = PasswordHasher(
        time_cost=settings.argon2_time_cost,
        memory_cost=settings.argon2_memory_kib,
        parallelism=settings.argon2_parallelism,
        type=Type.ID,
    )
    workers = settings.hash_workers or os.cpu_count() or 1
    pool = PasswordPool(hasher, workers=workers, queue=settings.hash_queue)
    try:
        yield pool
    finally:
        await pool.close()
