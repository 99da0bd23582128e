"""Every message that was ever sent can still be read: golden samples are kept, added to, never edited.

A new message has no sample yet: ``python -m tests.contract.samples`` adds it.
"""

import subprocess
from pathlib import Path

import msgspec
import pytest

from bus.codec import decoder, encode
from bus.message import Message, describe
from tests.contract.samples import GOLDEN, golden_file, message_classes, sample_of

CLASSES = message_classes()
FILES = sorted(GOLDEN.glob("*.json"))
BY_NAME = {golden_file(cls).name: cls for cls in CLASSES}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: describe(cls).full_name)
def test_every_message_has_a_golden_sample(cls: type[Message]) -> None:
    assert golden_file(cls).exists(), "run: python -m tests.contract.samples"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_golden_sample_belongs_to_a_message_and_can_be_read(path: Path) -> None:
    kept = msgspec.json.decode(path.read_bytes())

    message = decoder(BY_NAME[path.name])(path.read_bytes())

    written = msgspec.json.decode(encode(message))
    assert {name: written[name] for name in kept} == kept


@pytest.mark.parametrize("cls", CLASSES[::7], ids=lambda cls: describe(cls).full_name)
def test_a_sample_is_the_same_on_every_run(cls: type[Message]) -> None:
    assert sample_of(cls) == sample_of(cls)


def test_no_golden_sample_was_ever_edited_or_removed() -> None:
    history = subprocess.run(
        ["git", "log", "--format=", "--name-status", "--diff-filter=MDR", "--", str(GOLDEN)],
        cwd=GOLDEN,
        capture_output=True,
        text=True,
        check=False,
    )

    assert history.stdout.strip() == ""
