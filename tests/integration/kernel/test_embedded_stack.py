"""The embedded servers, run for real."""

import asyncpg
import nats
import redis.asyncio

from kernel.embedded.stack import EmbeddedStack


async def test_a_database_of_ones_own_is_empty_and_speaks_utf8_and_utc(database: str) -> None:
    connection = await asyncpg.connect(database)

    answer = await connection.fetchrow(
        "select current_setting('TimeZone') as zone, current_setting('server_encoding') as encoding,"
        " (select count(*) from pg_tables where schemaname = 'public') as tables"
    )
    await connection.close()

    assert dict(answer) == {"zone": "UTC", "encoding": "UTF8", "tables": 0}


async def test_each_user_of_nats_enters_with_its_seed(stack: EmbeddedStack) -> None:
    client = await nats.connect(
        stack.nats_url, nkeys_seed=str(stack.nats_keys_dir / "order.nk"), allow_reconnect=False
    )

    account = await client.jetstream().account_info()
    await client.close()

    assert account.limits.max_streams == -1


async def test_redis_asks_for_the_password(stack: EmbeddedStack) -> None:
    async with redis.asyncio.from_url(stack.redis_url) as client:
        answer = await client.ping()

    assert answer is True
