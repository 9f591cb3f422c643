"""TCP ports of this machine: free ones, and who holds a taken one."""

from __future__ import annotations

import socket

import psutil


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free now, chosen by the system."""
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on `port`; connections that linger after a stopped server do not count."""
    try:
        socket.create_server((host, port)).close()
    except OSError:
        return False
    return True


def holder(port: int) -> str | None:
    """Name and id of the process that listens on `port`, where the system tells."""
    try:
        listening = [
            held
            for held in psutil.net_connections("tcp")
            if held.status == psutil.CONN_LISTEN and held.laddr.port == port
        ]
    except (psutil.AccessDenied, OSError):
        return None
    for held in listening:
        if held.pid:
            try:
                return f"{psutil.Process(held.pid).name()}, process {held.pid}"
            except psutil.Error:
                return f"process {held.pid}"
    return None


def answers(host: str, port: int) -> bool:
    """Whether something accepts connections on `port`."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
