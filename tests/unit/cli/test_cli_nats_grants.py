"""``realserv nats-grants``: the block that a server of one's own reads."""

import subprocess
from pathlib import Path

import msgspec
from click.testing import CliRunner

from kernel.cli.nats_grants import nats_grants
from kernel.embedded.nats import nats_program
from kernel.graph import find_plugins


def test_the_server_accepts_the_block_that_is_printed(tmp_path: Path) -> None:
    printed = CliRunner().invoke(nats_grants, ["--keys", str(tmp_path / "keys")])
    conf = tmp_path / "nats.conf"
    conf.write_text(f'jetstream {{ store_dir: "{tmp_path}" }}\n{printed.output}')

    found = subprocess.run(
        [nats_program(), "-t", "-c", str(conf)], capture_output=True, check=False
    )

    assert found.returncode == 0, found.stderr


def test_printing_again_prints_the_same(tmp_path: Path) -> None:
    first = CliRunner().invoke(nats_grants, ["--keys", str(tmp_path)])

    second = CliRunner().invoke(nats_grants, ["--keys", str(tmp_path)])

    assert second.output == first.output


def test_the_subjects_are_printed_for_programs() -> None:
    printed = CliRunner().invoke(nats_grants, ["--json"])

    grants = msgspec.json.decode(printed.output)
    assert grants.keys() == {*find_plugins(), "gateway", "deployer", "cli"}
