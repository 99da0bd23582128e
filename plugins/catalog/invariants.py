"""What must hold of stock at any time; looked at when a back-up is verified."""

from typing import Final

from kernel.invariants import Invariant
from kernel.sql import statement

INVARIANTS: Final = (
    Invariant(
        "stock is never negative, and no more is promised than there is",
        statement(
            """
            SELECT count(*) FROM stocks
            WHERE on_hand < 0 OR reserved < 0 OR reserved > on_hand
            """
        ),
    ),
    Invariant(
        "what is on hand and promised is the sum of all movements, so no more was sold than stocked",
        statement(
            """
            SELECT count(*) FROM stocks AS s LEFT JOIN (
                SELECT offer_id, sum(on_hand_change) AS on_hand, sum(reserved_change) AS reserved
                FROM stock_movements GROUP BY offer_id
            ) AS moved USING (offer_id)
            WHERE s.on_hand <> coalesce(moved.on_hand, 0)
                OR s.reserved <> coalesce(moved.reserved, 0)
            """
        ),
    ),
)
