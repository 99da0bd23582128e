"""Generated secrets and the private files that hold them."""

from pathlib import Path

import pytest

from kernel.embedded.errors import DataMismatchError
from kernel.embedded.private_files import private_folder, write_private
from kernel.embedded.secrets import Secrets, new_password


def test_a_secret_is_made_once_and_found_again(tmp_path: Path) -> None:
    first = Secrets(tmp_path).get("redis_password")

    again = Secrets(tmp_path).get("redis_password")

    assert again == first


def test_two_names_have_two_secrets(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)

    assert secrets.get("one") != secrets.get("other")


def test_the_maker_of_a_secret_is_asked_only_when_there_is_none(tmp_path: Path) -> None:
    Secrets(tmp_path).get("admin_password", lambda: "first")

    kept = Secrets(tmp_path).get("admin_password", lambda: "second")

    assert kept == "first"


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path / "data")

    secrets.get("redis_password")

    assert secrets.path.stat().st_mode & 0o777 == 0o600
    assert secrets.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_broken_secrets_file_is_named_and_not_replaced(tmp_path: Path) -> None:
    write_private(tmp_path / "secrets.json", "{broken")

    with pytest.raises(DataMismatchError, match="cannot be read"):
        Secrets(tmp_path).get("redis_password")

    assert (tmp_path / "secrets.json").read_text() == "{broken"


def test_a_password_needs_no_quoting_in_a_url() -> None:
    password = new_password()

    assert len(password) == 32
    assert password.replace("-", "").replace("_", "").isalnum()


def test_a_folder_that_others_could_read_is_tightened(tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir(mode=0o755)

    private_folder(loose)

    assert loose.stat().st_mode & 0o777 == 0o700


def test_a_private_file_is_replaced_whole_and_leaves_no_draft(tmp_path: Path) -> None:
    write_private(tmp_path / "file", "old")

    write_private(tmp_path / "file", "new")

    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "new"
