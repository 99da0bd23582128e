"""What must hold of the ledger at any time; looked at when a back-up is verified."""

from typing import Final

from kernel.invariants import Invariant
from kernel.sql import statement

INVARIANTS: Final = (
    Invariant(
        "every entry of the ledger sums to zero, and so does the whole at every prefix",
        statement(
            """
            SELECT count(*) FROM (
                SELECT entry_id FROM ledger_lines GROUP BY entry_id, currency
                HAVING sum(amount) <> 0
            ) AS unbalanced
            """
        ),
    ),
    Invariant(
        "every entry of the ledger has lines",
        statement(
            """
            SELECT count(*) FROM ledger_entries AS e
            WHERE NOT EXISTS (SELECT FROM ledger_lines AS l WHERE l.entry_id = e.entry_id)
            """
        ),
    ),
)
