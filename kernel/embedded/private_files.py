"""Files and folders that only their owner may read."""

import os
from pathlib import Path
from uuid import uuid4


def private_folder(folder: Path) -> Path:
    """Make the folder with mode 0700, or tighten the one that is there; returns it absolute."""
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def write_private(path: Path, text: str) -> None:
    """Replace the file in one step, with mode 0600 from its first moment; a crash leaves old or new."""
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
