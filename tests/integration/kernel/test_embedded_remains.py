"""What killed test runs leave behind."""

import os
from pathlib import Path

from kernel.embedded.stack import EmbeddedStack
from kernel.testing.stack import PREFIX, clear_remains


def an_old_folder(place: Path, name: str) -> Path:
    folder = place / f"{PREFIX}{name}"
    folder.mkdir()
    (folder / "stack.lock").touch()
    os.utime(folder, (0, 0))
    return folder


def test_the_folder_of_a_killed_run_is_removed(tmp_path: Path) -> None:
    folder = an_old_folder(tmp_path, "killed")

    clear_remains(tmp_path)

    assert not folder.exists()


def test_a_young_folder_is_left_alone(tmp_path: Path) -> None:
    folder = an_old_folder(tmp_path, "young")
    os.utime(folder)

    clear_remains(tmp_path)

    assert folder.exists()


async def test_the_folder_of_a_living_run_is_left_alone(tmp_path: Path) -> None:
    folder = an_old_folder(tmp_path, "living")

    async with EmbeddedStack(folder, nats_users=(), durable=False, redis=False):
        os.utime(folder, (0, 0))
        clear_remains(tmp_path)
        still_there = (folder / "postgres" / "data").exists()

    assert still_there
