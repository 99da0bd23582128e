"""Makes a key pair for every user of the bus, once, and the list of them that the NATS server reads.

``python deploy/credentials.py FOLDER`` writes ``accounts.conf`` (public keys only) and one seed for each
user under ``keys/``. Running it again adds what is missing and changes nothing else.
"""  # noqa: INP001  a script of the container image, in no package

import sys
from pathlib import Path
from typing import Final

import msgspec

from kernel.embedded.nats import OPERATORS, UserKeys
from kernel.graph import find_plugins
from kernel.host import GATEWAY_CREDENTIAL

ACCOUNT: Final = "REALSERV"
READABLE: Final = 0o644


def write_credentials(folder: Path) -> None:
    """Write seeds and the accounts file under the folder."""
    keys = UserKeys(folder / "keys")
    names = (*OPERATORS, GATEWAY_CREDENTIAL, *find_plugins())
    users = [{"nkey": keys.public_key(name)} for name in names]
    accounts = {ACCOUNT: {"jetstream": "enabled", "users": users}}
    text = msgspec.json.format(msgspec.json.encode(accounts), indent=2).decode()
    draft = folder / "accounts.conf.new"
    draft.write_text(f"accounts: {text}\n")
    draft.chmod(READABLE)
    draft.replace(folder / "accounts.conf")


if __name__ == "__main__":
    write_credentials(Path(sys.argv[1]))
