"""The bus of compose.yaml: its credentials, and its configuration by the server's own judgement."""

import json
import re
import shutil
import subprocess
from pathlib import Path

from deploy.credentials import write_credentials
from kernel.embedded.nats import OPERATORS, configuration, nats_program
from kernel.graph import find_plugins
from kernel.host import GATEWAY_CREDENTIAL
from kernel.preparation import DEPLOYER_CREDENTIAL
from tests.unit.deploy.deploy_files import ROOT, mounts_of


def test_every_user_that_our_processes_connect_as_has_a_seed(tmp_path: Path) -> None:
    write_credentials(tmp_path)

    seeds = {path.stem for path in (tmp_path / "keys").glob("*.nk")}
    assert seeds == {*OPERATORS, GATEWAY_CREDENTIAL, *find_plugins()}
    assert DEPLOYER_CREDENTIAL in seeds


def test_seeds_are_private_and_the_list_of_users_holds_none(tmp_path: Path) -> None:
    write_credentials(tmp_path)

    accounts = tmp_path / "accounts.conf"
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").glob("*.nk")}
    assert modes == {0o600}
    assert accounts.stat().st_mode & 0o777 == 0o644
    assert not re.search(r"\bS[UA][A-Z0-9]{50,}", accounts.read_text())


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    write_credentials(tmp_path)
    before = (tmp_path / "accounts.conf").read_text()

    write_credentials(tmp_path)

    assert (tmp_path / "accounts.conf").read_text() == before


def test_the_server_accepts_its_configuration_where_compose_mounts_it(tmp_path: Path) -> None:
    targets = dict(mounts_of("nats"))
    folder = tmp_path / Path(targets["./deploy/nats.conf"]).parent.relative_to("/")
    write_credentials(tmp_path / Path(targets["credentials"]).relative_to("/"))
    shutil.copy(ROOT / "deploy" / "nats.conf", folder)

    found = subprocess.run(
        [nats_program(), "-t", "-c", str(folder / "nats.conf")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert found.returncode == 0, found.stderr


def test_its_limits_are_those_of_the_embedded_server() -> None:
    text = (ROOT / "deploy" / "nats.conf").read_text()
    embedded = json.loads(
        configuration(port=1, monitor_port=2, store_folder=Path("/data"), users=(), durable=True)
    )

    assert f"max_payload: {embedded['max_payload']}" in text
    assert f"max_pending: {embedded['max_pending']}" in text
    assert f'write_deadline: "{embedded["write_deadline"]}"' in text
    assert f"sync_interval: {embedded['jetstream']['sync_interval']}" in text
    assert dict(mounts_of("nats"))["nats-data"] == embedded["jetstream"]["store_dir"]
