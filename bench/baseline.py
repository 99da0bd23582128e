"""The baseline server: bare Litestar, and Litestar with asyncpg reading one row, on the same Granian.

``python -m bench.baseline --port 8100 --database postgresql://…``; several share the port.
"""

import argparse
import asyncio
import signal
from uuid import UUID

import asyncpg
import msgspec
import uvloop
from litestar import Litestar, get
from litestar.datastructures import State

from gateway.serving import serving


class Row(msgspec.Struct):
    """One row as it is answered."""

    id: UUID
    name: str
    category: str
    kind: str
    unit: str
    hsn: str
    price: int


@get("/bare")
async def bare() -> Row:
    """Answer without asking anybody."""
    return Row(UUID(int=1), "Cement", "cement", "material", "bag", "2523", 38000)


@get("/rows/{row_id:uuid}")
async def row(row_id: UUID, state: State) -> Row:
    """Read one row by its id."""
    found = await state.pool.fetchrow(
        "SELECT id, name, category, kind, unit, hsn, price FROM bench_rows WHERE id = $1", row_id
    )
    return Row(**found)


async def serve(port: int, database: str) -> None:
    """Serve until a signal comes."""
    stop = asyncio.Event()
    for request in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(request, stop.set)
    app = Litestar([bare, row], openapi_config=None, logging_config=None)
    app.state.pool = await asyncpg.create_pool(database, min_size=5, max_size=5)
    async with serving(app, "127.0.0.1", port, asyncio.Event(), stop_within=1.0):
        await stop.wait()
    await app.state.pool.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True)
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.database))
