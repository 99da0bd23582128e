"""Writes ``.env`` for compose.yaml with fresh secrets: ``python3 deploy/make_env.py``.

It needs nothing but Python, never overwrites, and nobody but its owner may read the file.
"""  # noqa: INP001  a script, in no package

import os
import secrets
import sys
from base64 import b64encode
from pathlib import Path
from typing import Final

TEMPLATE: Final = """\
# Secrets of this stack. Keep the file private; who has it has the market.
POSTGRES_PASSWORD={postgres}
REDIS_PASSWORD={redis}

# Ed25519 seed by which access tokens are signed.
IDENTITY_SIGNING_KEY={signing_key}
# The first administrator.
ADMIN_EMAIL=admin@realserv.example
ADMIN_PASSWORD={admin}

# Your account at Razorpay. Until you fill it in only cash on delivery works.
RAZORPAY_KEY_ID=rzp_test_fill_me_in
RAZORPAY_KEY_SECRET={razorpay}
RAZORPAY_WEBHOOK_SECRET={webhook}

# Your mail server. Until you fill it in e-mails wait and are tried again.
SMTP_HOST=mail.invalid
SMTP_PORT=587

# Where the balancer listens.
LISTEN=127.0.0.1:8000
"""


def fresh_environment() -> str:
    """Return the file's text with secrets that were never used before."""
    return TEMPLATE.format(
        postgres=secrets.token_urlsafe(32),
        redis=secrets.token_urlsafe(32),
        signing_key=b64encode(secrets.token_bytes(32)).decode(),
        admin=secrets.token_urlsafe(18),
        razorpay=secrets.token_urlsafe(32),
        webhook=secrets.token_urlsafe(32),
    )


def main(path: Path) -> None:
    """Write the file; a file that is there stays as it is."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        sys.exit(f"{path} is there already; remove it first if you mean to lose its secrets")
    with os.fdopen(descriptor, "w") as file:
        file.write(fresh_environment())
    sys.stdout.write(f"{path} is written; look through it, then: docker compose up --build\n")


if __name__ == "__main__":
    main(Path(__file__).resolve().parent.parent / ".env")
