"""Sealed secrets, addresses without passwords, old back-ups, moments as operators write them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import rich_click as click

from kernel.backup import BackedUpFile, Manifest, forget_old
from kernel.cli.moments import MOMENT
from kernel.postgres_programs import without_password
from kernel.sealing import PassphraseError, seal, unseal

PASSPHRASE = "correct horse battery"
NOW = datetime(2026, 5, 10, 2, 0, tzinfo=UTC)


def a_backup(parent: Path, *, age: timedelta) -> Path:
    folder = parent / f"backup-{int(age.total_seconds())}"
    folder.mkdir()
    manifest = Manifest(
        format=1,
        made_at=NOW - age,
        realserv="1",
        plugins={},
        databases=(),
        streams=(),
        sealed=BackedUpFile(name="sealed", file="sealed.bin", bytes=0, sha256=""),
    )
    (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    return folder


def test_what_is_sealed_is_opened_by_its_passphrase_alone() -> None:
    sealed = seal(b"secret", PASSPHRASE)

    assert b"secret" not in sealed
    assert unseal(sealed, PASSPHRASE) == b"secret"
    with pytest.raises(PassphraseError):
        unseal(sealed, PASSPHRASE + "!")


def test_a_changed_seal_does_not_open() -> None:
    sealed = bytearray(seal(b"secret", PASSPHRASE))
    sealed[-10] ^= 1

    with pytest.raises(PassphraseError):
        unseal(bytes(sealed), PASSPHRASE)


def test_a_short_passphrase_is_refused() -> None:
    with pytest.raises(PassphraseError, match="12"):
        seal(b"secret", "short")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p%40w@h:5/db", ("postgresql://u@h:5/db", "p@w")),
        (
            "postgresql://u:pw@/db?host=%2Ftmp&port=5",
            ("postgresql://u@/db?host=%2Ftmp&port=5", "pw"),
        ),
        ("postgresql://h/db", ("postgresql://h/db", "")),
    ],
)
def test_no_password_stands_on_a_command_line(url: str, expected: tuple[str, str]) -> None:
    assert without_password(url) == expected


def test_backups_older_than_the_days_to_keep_are_removed(tmp_path: Path) -> None:
    young = a_backup(tmp_path, age=timedelta(days=6))
    old = a_backup(tmp_path, age=timedelta(days=7))
    (tmp_path / "other").mkdir()

    assert forget_old(tmp_path, days=7, now=NOW) == [old]
    assert sorted(path.name for path in tmp_path.iterdir()) == [young.name, "other"]


def test_the_newest_backup_stays_however_old_it_is(tmp_path: Path) -> None:
    a_backup(tmp_path, age=timedelta(days=90))

    assert forget_old(tmp_path, days=7, now=NOW) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-01", datetime(2026, 4, 30, 18, 30, tzinfo=UTC)),
        ("2026-05-01T10:00+00:00", datetime(2026, 5, 1, 10, 0, tzinfo=UTC)),
    ],
)
def test_a_moment_is_indian_unless_it_says_otherwise(text: str, expected: datetime) -> None:
    assert MOMENT.convert(text, None, None) == expected


def test_a_moment_may_be_an_age() -> None:
    moment = MOMENT.convert("2h", None, None)

    assert timedelta(0) <= datetime.now(UTC) - timedelta(hours=2) - moment < timedelta(minutes=1)


def test_what_is_no_moment_is_refused() -> None:
    with pytest.raises(click.BadParameter, match="yesterday"):
        MOMENT.convert("yesterday", None, None)
