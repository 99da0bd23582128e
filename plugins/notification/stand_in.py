"""How ``realserv up`` starts the mail sink and points notification at it."""

from kernel.stand_ins import StandIn

stand_in = StandIn(
    module="plugins.notification.sink",
    arguments=lambda place: ["--port", str(place.port), "--folder", str(place.folder / "mail")],
    configuration=lambda place: {
        "plugins": {"notification": {"smtp": {"host": "127.0.0.1", "port": place.port}}}
    },
)
