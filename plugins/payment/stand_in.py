"""How ``realserv up`` starts the Razorpay stand-in and points payment at it."""

from typing import Final

from kernel.stand_ins import StandIn, StandInPlace
from plugins.payment.standin.__main__ import PREFIX

WEBHOOK_PATH: Final = "/api/v1/payments/webhooks/razorpay"


def _environment(place: StandInPlace) -> dict[str, str]:
    return {
        f"{PREFIX}KEY_ID": str(place.setting("plugins.payment.key_id")),
        f"{PREFIX}KEY_SECRET": place.secret("plugins.payment.key_secret"),
        f"{PREFIX}WEBHOOK_SECRET": place.secret("plugins.payment.webhook_secrets"),
    }


stand_in = StandIn(
    module="plugins.payment.standin",
    arguments=lambda place: [
        "--port",
        str(place.port),
        "--webhook-url",
        place.gateway_url + WEBHOOK_PATH,
        "--state",
        str(place.folder / "razorpay.json"),
    ],
    environment=_environment,
    configuration=lambda place: {
        "plugins": {"payment": {"base_url": f"http://127.0.0.1:{place.port}/v1"}}
    },
)
