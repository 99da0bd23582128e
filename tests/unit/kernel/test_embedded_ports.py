"""Choosing ports on the loopback address."""

import socket

import pytest

from kernel.embedded.errors import PortInUseError
from kernel.embedded.ports import LOOPBACK, OUR_RANGE, free_port, is_free, require_free


def test_a_port_is_not_free_while_somebody_listens_there() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]

        free = is_free(port)

    assert not free


def test_a_port_is_free_again_when_its_listener_is_gone() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]

    assert is_free(port)


def test_a_free_port_lies_where_outgoing_connections_do_not_take_it() -> None:
    port = free_port()

    assert port in OUR_RANGE


def test_a_configured_port_in_use_is_named_with_its_setting() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]

        with pytest.raises(PortInUseError, match=rf"{port} for NATS .* embedded\.nats_port"):
            require_free(port, purpose="NATS", setting="embedded.nats_port")
