"""Makes a key pair for every user of the bus, once, and the list of them that the NATS server reads.

``python deploy/credentials.py FOLDER`` writes ``accounts.conf`` (public keys, and what each user is held to)
and one seed for each user under ``keys/``. Run it again after every change of the plugins: it adds what
is missing and keeps the seeds that are there.
"""  # noqa: INP001  a script of the container image, in no package

import sys
from pathlib import Path
from typing import Final

from kernel.embedded.nats import UserKeys
from kernel.grants import accounts_block
from kernel.graph import find_plugins

READABLE: Final = 0o644


def write_credentials(folder: Path) -> None:
    """Write seeds and the accounts file under the folder."""
    keys = UserKeys(folder / "keys")
    draft = folder / "accounts.conf.new"
    draft.write_text(accounts_block(keys, find_plugins().values()))
    draft.chmod(READABLE)
    draft.replace(folder / "accounts.conf")


if __name__ == "__main__":
    write_credentials(Path(sys.argv[1]))
