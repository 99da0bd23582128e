"""Notes of changed listings: written in the transaction that changes one, read by every process.

A note carries its transaction's number. A reader asks for the notes of all transactions that were
not over when it last looked, so a note that is committed late is not passed over.
"""

from datetime import datetime
from typing import Final

from kernel.context import Tx
from kernel.ids import to_uuid
from kernel.sql import statement

NOTE_PRODUCT: Final = statement(
    """
    INSERT INTO listing_changes (product_id, changed_at)
    VALUES (CAST(:product_id AS uuid), CAST(:changed_at AS timestamptz))
    """
)
NOTE_PRODUCTS_OF_VENDOR: Final = statement(
    """
    INSERT INTO listing_changes (product_id, changed_at)
    SELECT DISTINCT product_id, CAST(:changed_at AS timestamptz)
    FROM offers WHERE vendor_id = :vendor_id
    """
)
FORGET: Final = statement("DELETE FROM listing_changes WHERE changed_at < :before")


class ListingNotes:
    """Writes the notes of one transaction."""

    def __init__(self, tx: Tx, *, at: datetime) -> None:
        self._tx = tx
        self._at = at

    async def product(self, product_id: str) -> None:
        """Note that the listing of a product changes."""
        await self._tx.execute(NOTE_PRODUCT, product_id=to_uuid(product_id), changed_at=self._at)

    async def products_of(self, vendor_id: str) -> None:
        """Note that the listings of all products that a vendor offers change."""
        await self._tx.execute(
            NOTE_PRODUCTS_OF_VENDOR, vendor_id=to_uuid(vendor_id), changed_at=self._at
        )

    async def forget(self, *, before: datetime) -> int:
        """Delete notes that every process has long read; returns how many."""
        return await self._tx.execute(FORGET, before=before)
