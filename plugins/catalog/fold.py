"""Stock as the facts tell it: the same ``apply`` as live handling, over a whole stream."""

from dataclasses import dataclass, field

from bus.message import Event
from plugins.catalog.contract import (
    OfferId,
    OfferPublished,
    ReservationId,
    StockCommitted,
    StockKept,
    StockMoved,
    StockReleased,
    StockReserved,
    StockShort,
)
from plugins.catalog.domain import StockChange, StockReservation

ReservationFact = StockReserved | StockKept | StockCommitted | StockReleased | StockShort


@dataclass(slots=True)
class StockFold:
    """On hand and reserved per offer, and every reservation, folded from catalog's own facts."""

    on_hand: dict[OfferId, int] = field(default_factory=dict)
    reserved: dict[OfferId, int] = field(default_factory=dict)
    reservations: dict[ReservationId, StockReservation] = field(default_factory=dict)

    def apply(self, fact: Event) -> None:
        """Take the next fact in; facts that say nothing of stock are passed over."""
        match fact:
            case OfferPublished():
                self._add(StockChange(fact.offer_id, fact.stock.thousandths, 0, "opening"))
            case StockMoved():
                self._add(StockChange(fact.offer_id, fact.delta.thousandths, 0, fact.reason))
            case StockReserved() | StockKept() | StockCommitted() | StockReleased() | StockShort():
                for change in self._reservation_of(fact).apply(fact):
                    self._add(change)
            case _:
                return

    def _reservation_of(self, fact: ReservationFact) -> StockReservation:
        found = self.reservations.get(fact.reservation_id)
        if found is None:
            if not isinstance(fact, StockReserved):
                raise LookupError(f"no StockReserved came before {type(fact).__name__}")
            found = StockReservation(fact.reservation_id, fact.expires_at)
            self.reservations[fact.reservation_id] = found
        return found

    def _add(self, change: StockChange) -> None:
        offer = change.offer_id
        self.on_hand[offer] = self.on_hand.get(offer, 0) + change.on_hand
        self.reserved[offer] = self.reserved.get(offer, 0) + change.reserved
