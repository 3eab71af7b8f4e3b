"""The dashboard's server finds a port and says when it cannot have one."""

import socket

import pytest

from app.serve import free_port, launch
from tracer.errors import CircuitError


def test_a_taken_port_is_refused_with_another_to_try():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CircuitError, match=rf"cannot listen on 127.0.0.1:{port}.*--port {port + 1}"):
            launch(port)


def test_a_port_that_cannot_be_is_named():
    with pytest.raises(CircuitError, match="there is no port 99999; expected a number from 0 to 65535"):
        launch(99999)


def test_the_demo_moves_on_from_a_taken_port(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr("app.serve.PORT", port)
        assert port < free_port() < port + 100
