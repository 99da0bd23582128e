"""An e-mail's delivery: waiting until the mail server has taken or refused it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from kernel.moves import legal_moves
from plugins.notification.contract import FailureReason, NotificationFailed, NotificationSent
from plugins.notification.errors import IllegalDeliveryMoveError

DeliveryState = Literal["queued", "sent", "failed"]

QUEUED: Final = "queued"
SENT: Final = "sent"
FAILED: Final = "failed"
MOVES: Final = legal_moves({QUEUED: {SENT, FAILED}, SENT: set(), FAILED: set()})


@dataclass
class Delivery:
    """What is known of one message's way by e-mail."""

    notification_id: str
    user_id: str
    topic: str
    state: DeliveryState = QUEUED
    reason: FailureReason | None = None
    reply_code: int | None = None
    settled_at: datetime | None = None
    facts: list[NotificationSent | NotificationFailed] = field(default_factory=list)

    def sent(self, *, at: datetime) -> None:
        """Take note that the mail server has it. Twice is the same as once."""
        if self._move(SENT, at):
            self.facts.append(
                NotificationSent(
                    notification_id=self.notification_id,
                    user_id=self.user_id,
                    topic=self.topic,
                    channel="email",
                )
            )

    def failed(self, reason: FailureReason, reply_code: int | None, *, at: datetime) -> None:
        """Take note that it will never leave. Twice is the same as once."""
        if self._move(FAILED, at):
            self.reason = reason
            self.reply_code = reply_code
            self.facts.append(
                NotificationFailed(
                    notification_id=self.notification_id,
                    user_id=self.user_id,
                    topic=self.topic,
                    channel="email",
                    reason=reason,
                )
            )

    def _move(self, state: DeliveryState, at: datetime) -> bool:
        if self.state == state:
            return False
        if not MOVES.allows(self.state, state):
            raise IllegalDeliveryMoveError(f"It is {self.state} and cannot become {state}")
        self.state = state
        self.settled_at = at
        return True
