"""The configuration files that are written for the embedded servers."""

import json
from pathlib import Path

import pytest

from kernel.embedded import nats, postgres, redis


def nats_settings(*users: nats.NatsUser, durable: bool = True) -> dict[str, object]:
    text = nats.configuration(
        port=4222, monitor_port=8222, store_folder=Path("/data/js"), users=users, durable=durable
    )
    settings: dict[str, object] = json.loads(text)
    return settings


def test_a_durable_postgres_syncs_every_commit() -> None:
    text = postgres.configuration(port=5432, socket_folder=Path("/run"), durable=True)

    assert "fsync = 'on'\nfull_page_writes = 'on'\nsynchronous_commit = 'on'\n" in text


def test_a_postgres_for_tests_does_not_wait_for_the_disk() -> None:
    text = postgres.configuration(port=5432, socket_folder=Path("/run"), durable=False)

    assert "fsync = 'off'\nfull_page_writes = 'off'\nsynchronous_commit = 'off'\n" in text


def test_a_quote_in_a_folder_name_does_not_end_the_setting() -> None:
    text = postgres.configuration(port=5432, socket_folder=Path("/it's here"), durable=True)

    assert "unix_socket_directories = '/it''s here'\n" in text


@pytest.mark.parametrize("name", ["", "Order", 'a"b', "a-b", "1st", "x" * 64])
def test_a_database_name_that_would_need_quoting_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a plain database name"):
        postgres.checked_name(name)


def test_a_stale_pid_is_replaced_by_ours_and_the_rest_of_the_file_stays(tmp_path: Path) -> None:
    pid_file = tmp_path / "postmaster.pid"
    pid_file.write_text(
        "1\n/data\n1700000000\n5432\n/run\n127.0.0.1\n  5432001         4\nready   \n"
    )

    postgres.disarm_stale_pid(pid_file)

    pid, _, rest = pid_file.read_text().partition("\n")
    assert pid != "1"
    assert rest == "/data\n1700000000\n5432\n/run\n127.0.0.1\n  5432001         4\nready   \n"


def test_a_durable_nats_syncs_before_it_acknowledges() -> None:
    settings = nats_settings()

    assert settings["jetstream"] == {"store_dir": "/data/js", "sync_interval": "always"}


def test_a_user_without_permissions_may_do_everything_in_the_account() -> None:
    settings = nats_settings(nats.NatsUser("order", "UKEY"))

    assert settings["accounts"] == {
        "REALSERV": {"jetstream": "enabled", "users": [{"nkey": "UKEY"}]}
    }


def test_a_user_with_nothing_allowed_is_denied_everything() -> None:
    settings = nats_settings(nats.NatsUser("order", "UKEY", nats.NatsPermissions()))

    assert settings["accounts"] == {
        "REALSERV": {
            "jetstream": "enabled",
            "users": [
                {
                    "nkey": "UKEY",
                    "permissions": {"publish": {"deny": [">"]}, "subscribe": {"deny": [">"]}},
                }
            ],
        }
    }


def test_every_server_listens_on_the_loopback_address_only() -> None:
    settings = nats_settings()
    postgres_text = postgres.configuration(port=1, socket_folder=Path("/run"), durable=True)
    redis_text = redis.configuration(
        Path("/data"), port=1, password="secret", durable=True, max_memory="1mb"
    )

    assert settings["listen"] == "127.0.0.1:4222"
    assert settings["http"] == "127.0.0.1:8222"
    assert "listen_addresses = '127.0.0.1'\n" in postgres_text
    assert "bind 127.0.0.1\n" in redis_text


def test_a_redis_for_tests_writes_nothing_to_disk() -> None:
    text = redis.configuration(
        Path("/data"), port=1, password="secret", durable=False, max_memory="1mb"
    )

    assert "appendonly no\n" in text
    assert 'save ""\n' in text


@pytest.mark.parametrize("name", ["", "../admin", "Order", "a.b"])
def test_a_user_name_that_is_no_plain_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a plain user name"):
        nats.UserKeys(tmp_path).seed_file(name)


def test_a_user_keeps_its_key_pair(tmp_path: Path) -> None:
    first = nats.UserKeys(tmp_path).public_key("order")

    again = nats.UserKeys(tmp_path).public_key("order")

    assert again == first
    assert first.startswith("U")
    assert (tmp_path / "order.nk").stat().st_mode & 0o777 == 0o600
