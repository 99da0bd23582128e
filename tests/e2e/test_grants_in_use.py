"""The grants that are derived are the grants that are needed: a journey, and the server refused nothing."""

from pathlib import Path

from kernel.testing.market import Market, Shop, an_order, status_of, until
from kernel.testing.system import System
from tests.e2e.test_paying_api import online_order, pay

REFUSALS = ("Violation", "bus_permission_denied", "forged_")


def refusals_in(folder: Path) -> list[str]:
    """Return the lines of all logs that tell of something that the bus refused."""
    return [
        f"{path.name}: {line}"
        for path in sorted(folder.rglob("*.log"))
        for line in path.read_text(errors="replace").splitlines()
        if any(word in line for word in REFUSALS)
    ]


async def test_nobody_says_or_hears_what_its_declaration_does_not_name(
    system: System, market: Market, shop: Shop
) -> None:
    buyer = await market.buyer()
    cash = await buyer.post("/orders", an_order(await shop.stocked()))
    await shop.handle(cash, "accept", "dispatch", "deliver")
    paid, payment = await online_order(buyer, shop)
    await pay(system, payment)
    await until(lambda: status_of(buyer, paid["order_id"]), lambda seen: seen[0] == "confirmed")
    await buyer.post(f"/orders/{paid['order_id']}/cancel", {"reason": "the site is not ready"})
    await until(
        lambda: status_of(buyer, paid["order_id"]), lambda seen: seen == ("cancelled", "refunded")
    )
    await until(
        lambda: buyer.get("/notifications", limit=100),
        lambda seen: "refund_settled" in {one["topic"] for one in seen["items"]},
    )
    for command in ("doctor", "plugin list", "dlq list", "token --as " + market.admin.email):
        await system.command(*command.split())

    assert refusals_in(system.folder) == []
