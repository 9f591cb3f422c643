"""Network cameras against servers that speak the real protocols: RTSP with JPEG over RTP, and MJPEG over HTTP."""

from __future__ import annotations

import logging
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from producers.cameras import NetworkCamera, UsbCamera, masked
from producers.doubles import picture
from producers.reconnecting import Reconnecting
from producers.sources import Captured, SourceLostError
from sightline.contracts import CameraEventKind

WIDTH, HEIGHT, QUALITY = 64, 48, 80
Handler = Callable[[socket.socket, threading.Event], None]


class CameraServer:
    """Serves each connection in a thread with `handler` until it is closed."""

    def __init__(self, handler: Handler) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._handler = handler
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self.connections = 0
        self._threads[0].start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with connection:
            try:
                self._handler(connection, self._over)
            except OSError:
                return  # the client went away, which is its right


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], CameraServer]]:
    servers: list[CameraServer] = []

    def start(handler: Handler) -> CameraServer:
        servers.append(CameraServer(handler))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def jpeg(number: int) -> bytes:
    return bytes(cv2.imencode(".jpg", picture(number), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def mjpeg(frames: int, then: Callable[[threading.Event], object] = lambda over: None) -> Handler:
    """A camera that sends `frames` pictures over HTTP, does `then`, and hangs up."""

    def handle(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=cut\r\n\r\n")
        for number in range(frames):
            data = jpeg(number)
            connection.sendall(b"--cut\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data))
            connection.sendall(data + b"\r\n")
        then(over)

    return handle


def rtsp(frames: int, then: Callable[[threading.Event], object]) -> Handler:
    """A camera that speaks RTSP 1.0 and sends `frames` pictures as RTP/JPEG (RFC 2435) in the same TCP connection."""
    description = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=line\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:one\r\n"

    def handle(connection: socket.socket, over: threading.Event) -> None:
        requests = connection.makefile("rb")
        while request := requests.readline().decode():
            fields = dict(line.split(": ", 1) for line in iter(lambda: requests.readline().decode().strip(), ""))
            answer = f"RTSP/1.0 200 OK\r\nCSeq: {fields['CSeq']}\r\nSession: 7\r\n"
            match request.split()[0]:
                case "OPTIONS":
                    connection.sendall(f"{answer}Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n\r\n".encode())
                case "DESCRIBE":
                    head = f"{answer}Content-Type: application/sdp\r\nContent-Length: {len(description)}\r\n\r\n"
                    connection.sendall(head.encode() + description)
                case "SETUP":
                    assert "RTP/AVP/TCP" in fields["Transport"]
                    connection.sendall(f"{answer}Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n".encode())
                case "PLAY":
                    connection.sendall(f"{answer}\r\n".encode())
                    for number in range(frames):
                        connection.sendall(rtp_packet(number))
                    then(over)
                    return
                case _:
                    connection.sendall(f"{answer}\r\n".encode())

    return handle


def rtp_packet(number: int) -> bytes:
    data = jpeg(number)
    scan = data.index(b"\xff\xda")
    scan += 2 + int.from_bytes(data[scan + 2 : scan + 4], "big")
    rtp = struct.pack(">BBHII", 0x80, 0x80 | 26, number, number * 9000, 1)
    main = bytes((0, 0, 0, 0, 1, QUALITY, WIDTH // 8, HEIGHT // 8))
    packet = rtp + main + data[scan:-2]
    return b"$\x00" + struct.pack(">H", len(packet)) + packet


def wait_until_over(over: threading.Event) -> None:
    over.wait(30)


def read_all(camera: NetworkCamera) -> list[Captured]:
    """Frames until the camera is lost."""
    taken: list[Captured] = []
    with pytest.raises(SourceLostError):
        while True:
            taken.append(camera.read())
    return taken


def test_rtsp_over_tcp_gives_the_pictures_of_the_camera(serve: Callable[[Handler], CameraServer]) -> None:
    server = serve(rtsp(30, wait_until_over))
    camera = NetworkCamera(f"rtsp://inspector:s3cret@{server.address}/line", timeout=2)
    camera.open()
    shots = [camera.read() for _ in range(5)]
    camera.close()
    for number, shot in enumerate(shots):
        assert isinstance(shot.picture, np.ndarray)
        expected = cv2.imdecode(np.frombuffer(jpeg(number), np.uint8), cv2.IMREAD_COLOR)
        assert np.abs(shot.picture.astype(int) - expected).mean() < 3


def test_a_stream_that_falls_silent_is_noticed_as_lost(serve: Callable[[Handler], CameraServer]) -> None:
    server = serve(rtsp(20, wait_until_over))
    camera = NetworkCamera(f"rtsp://{server.address}/line", timeout=1)
    camera.open()
    assert read_all(camera)
    camera.close()


def test_a_server_that_never_answers_is_given_up(serve: Callable[[Handler], CameraServer]) -> None:
    server = serve(lambda _, over: wait_until_over(over))
    camera = NetworkCamera(f"rtsp://{server.address}/line", timeout=0.5)
    with pytest.raises(SourceLostError, match=r"within 0\.5 s"):
        camera.open()


def test_a_camera_that_hangs_up_is_reached_again(serve: Callable[[Handler], CameraServer]) -> None:
    server = serve(mjpeg(30))
    told: list[CameraEventKind] = []
    camera = Reconnecting(
        NetworkCamera(f"http://{server.address}/mjpeg", timeout=2),
        longest=0.01,
        stopping=threading.Event(),
        report=lambda kind, message: told.append(kind),
    )
    camera.open()
    shots = [camera.read() for _ in range(70)]
    camera.close()
    assert all(isinstance(shot, Captured) for shot in shots)
    assert server.connections > 1
    connected, disconnected = CameraEventKind.CONNECTED, CameraEventKind.DISCONNECTED
    assert told[:3] == [connected, disconnected, connected]


def test_frames_between_due_ones_are_passed_over(serve: Callable[[Handler], CameraServer]) -> None:
    server = serve(mjpeg(60))
    camera = NetworkCamera(f"http://{server.address}/mjpeg", timeout=2, max_fps=0.01)
    camera.open()
    # the first frame is due at once; all the others come long before the second is due
    assert len(read_all(camera)) == 1
    camera.close()


def test_no_usb_camera_is_told_with_its_index() -> None:
    with pytest.raises(SourceLostError, match=r"index 97.*/dev/video97"):
        UsbCamera(97).open()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://10.0.0.7:554/stream1", "rtsp://10.0.0.7:554/stream1"),
        ("rtsp://admin:pw@10.0.0.7/stream1", "rtsp://***@10.0.0.7/stream1"),
        ("rtsp://admin:p/w?d#@x@cam/stream1", "rtsp://***@cam/stream1"),
        ("rtsp://cam/live?user=admin&password=pw", "rtsp://cam/live"),
        ("rtsp://cam/live?channel=1", "rtsp://cam/live"),
        ("rtsp://cam/user=admin_password=pw_channel=1.sdp", "rtsp://cam/***"),
    ],
)
def test_urls_are_shown_without_what_is_secret(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_a_password_reaches_neither_message_nor_log_nor_stderr(caplog: pytest.LogCaptureFixture) -> None:
    url = "rtsp://admin:s3cret@127.0.0.1:9/x"
    with caplog.at_level(logging.DEBUG), pytest.raises(SourceLostError) as raised:
        NetworkCamera(url, timeout=1).open()
    assert "s3cret" not in str(raised.value) + caplog.text
    # OpenCV and FFmpeg write to the process's stderr themselves
    program = f"from producers.cameras import NetworkCamera; NetworkCamera({url!r}, timeout=1).open()"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "SourceLostError" in said.stderr
    assert "s3cret@" not in said.stderr.replace(program, "")
