"""Taking, keeping and giving back capacity: what order asks and tells, and the clean-up."""

from bus.message import Nothing
from kernel.context import Context
from plugins.vendor.capacity import Take, day_of, take_all
from plugins.vendor.capacity_store import CapacityStore
from plugins.vendor.contract import CommitCapacity, ReleaseCapacity, TakeCapacity
from plugins.vendor.settings import VendorSettings


async def take_capacity(command: TakeCapacity, ctx: Context) -> Nothing:
    """Hold one order of the day for each sub-order, or none at all when one cannot be had."""
    day = day_of(command.day)
    now = ctx.now()
    until = now + ctx.settings(VendorSettings).hold_capacity_for
    needs = dict.fromkeys(command.needs)
    async with ctx.transaction() as tx:
        store = CapacityStore(tx)
        books = await store.open_books({n.vendor_id for n in needs}, day=day, now=now)
        known = await store.takes_of({n.sub_order_id for n in needs})
        await store.save(take_all(needs, books, known, day=day, until=until, at=now))
    return Nothing()


async def commit_capacity(command: CommitCapacity, ctx: Context) -> Nothing:
    """Keep what was taken; what lapsed meanwhile is taken again, over the limit if need be."""
    day = day_of(command.day)
    now = ctx.now()
    async with ctx.transaction() as tx:
        store = CapacityStore(tx)
        known = await store.takes_of({need.sub_order_id for need in command.needs})
        takes = [
            known.get(need) or Take.hold(need, day=day, until=now, at=now)
            for need in dict.fromkeys(command.needs)
        ]
        for take in takes:
            take.commit(at=now)
        await store.save(takes)
    return Nothing()


async def release_capacity(command: ReleaseCapacity, ctx: Context) -> Nothing:
    """Give back what sub-orders took, of one vendor or of all."""
    async with ctx.transaction() as tx:
        store = CapacityStore(tx)
        known = await store.takes_of(command.sub_order_ids)
        takes = [take for take in known.values() if command.vendor_id in (None, take.vendor_id)]
        for take in takes:
            take.release(at=ctx.now())
        await store.save(takes)
    return Nothing()


async def forget_takes(ctx: Context) -> None:
    """Delete takes that count no more and for which no told command can still be on its way."""
    async with ctx.transaction() as tx:
        before = ctx.now() - ctx.settings(VendorSettings).forget_takes_after
        await CapacityStore(tx).forget(before=before)
