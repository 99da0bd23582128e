"""The statements of the sample."""

from kernel.sql import statement

ADD = statement(
    """
    INSERT INTO tallies (tally_id, total) VALUES (:tally_id, :number)
    ON CONFLICT (tally_id) DO UPDATE SET total = tallies.total + excluded.total RETURNING total
    """
)
NOTE = statement("INSERT INTO journal (tally_id, number) VALUES (:tally_id, :number)")
TOTAL = statement("SELECT total FROM tallies WHERE tally_id = :tally_id")
JOURNAL = statement("SELECT tally_id, number FROM journal ORDER BY serial")
OUTBOX = statement(
    "SELECT kind, ce_id, subject, headers, payload, sent_at, stream_seq FROM kernel.outbox ORDER BY id"
)
UNSENT = statement("SELECT count(*) FROM kernel.outbox WHERE sent_at IS NULL")
INBOX = statement("SELECT count(*) FROM kernel.inbox")
PARKED = statement(
    "SELECT key, stream_seq, attempts, reason, next_attempt_at FROM kernel.parked ORDER BY stream_seq"
)
POSITIONS = statement("SELECT part, stream_seq FROM kernel.positions ORDER BY part")
EFFECTS = statement(
    "SELECT state, attempts, possible_duplicates, outcome FROM kernel.effects ORDER BY created_at"
)
