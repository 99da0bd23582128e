"""The kernel's own cost of a local call, unsampled: everything around an empty query handler."""

import time
from typing import Any, Final

from bench.figures import Figure
from bench.sample import Ping, Pong, asker, plugin
from bus.actor import Actor
from bus.codec import decoder, encode
from kernel.calls import LocalFirstCaller, LocalRegistry
from kernel.context import Context
from kernel.graph import askers_of
from kernel.hosted import endpoints_of
from kernel.runtime import PluginRuntime
from kernel.settings import NoSettings
from kernel.telemetry import Telemetry
from kernel.testing import FakeNeighbours
from kernel.tokens import TokenMint, TokenVerifier

COUNT: Final = 20_000


async def kernel_cost(seconds: int) -> list[Figure]:
    """Ask an empty query of a plugin of the same process, with a verified token, many times."""
    del seconds
    mint = TokenMint()

    async def keys() -> dict[str, bytes]:
        return {mint.kid: mint.public_key}

    tokens = TokenVerifier(keys)
    registry = LocalRegistry()
    served = _runtime(plugin, FakeNeighbours(), tokens)
    registry.add(endpoints_of(served))
    asking = _runtime(asker, LocalFirstCaller(registry, FakeNeighbours()), tokens)
    token = mint.mint(Actor(kind="user", id="user_1", roles=("buyer",), permissions=frozenset()))
    context = asking.start_context()
    context.token = token
    await _many(context, 2000)
    ours = await _many(context, COUNT)
    bare = await _bare(COUNT)
    return [
        Figure(
            name="local call, kernel's own cost",
            value=ours - bare,
            unit="µs",
            floor=-60,
        ),
        Figure(name="codec and handler alone", value=bare, unit="µs"),
    ]


async def _many(context: Context, count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        await context.ask(Ping(text="hello"))
    return (time.perf_counter() - started) / count * 1e6


async def _bare(count: int) -> float:
    """The same message encoded, decoded and answered by nobody in particular."""
    request, reply = decoder(Ping), decoder(Pong)
    started = time.perf_counter()
    for _ in range(count):
        message = request(encode(Ping(text="hello")))
        reply(encode(await _answer(message)))
    return (time.perf_counter() - started) / count * 1e6


async def _answer(message: Ping) -> Pong:
    return Pong(text=message.text)


def _runtime(declared: Any, caller: Any, tokens: TokenVerifier) -> PluginRuntime:
    return PluginRuntime(
        declared,
        settings=NoSettings(),
        database=None,  # type: ignore[arg-type]  # an empty query reads nothing
        resources={},
        caller=caller,
        tokens=tokens,
        telemetry=Telemetry(),
        askers=askers_of([plugin, asker]),
        wake=lambda: None,
    )
