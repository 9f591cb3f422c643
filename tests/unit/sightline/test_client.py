"""What the Python client leaves on the disk when the API fails it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from sightline.client import Client
from sightline.errors import ApiError


class BreaksOff(httpx2.SyncByteStream):
    """An answer that ends with an error after its first bytes."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __iter__(self) -> Iterator[bytes]:
        yield b"camera,sequence\n"
        raise self._error


def exporting(answer: httpx2.Response | Exception) -> Client:
    def handle(_request: httpx2.Request) -> httpx2.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Client("", "key", http=httpx2.Client(base_url="http://api", transport=httpx2.MockTransport(handle)))


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (httpx2.ConnectError("refused"), ApiError),
        (httpx2.Response(200, stream=BreaksOff(httpx2.ReadError("reset"))), ApiError),
        (httpx2.Response(200, stream=BreaksOff(OSError("no space left on device"))), OSError),
        (httpx2.Response(503, json={"detail": "busy"}), ApiError),
    ],
    ids=["away", "breaks-off", "disk-full", "refused"],
)
def test_an_export_that_fails_leaves_the_file_of_yesterday_and_nothing_else(
    answer: httpx2.Response | Exception, raised: type[Exception], tmp_path: Path
) -> None:
    file = tmp_path / "inspections.csv"
    file.write_bytes(b"yesterday")
    with pytest.raises(raised):
        exporting(answer).export(file)
    assert file.read_bytes() == b"yesterday"
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    file = tmp_path / "inspections.csv"
    file.write_bytes(b"yesterday, and longer")
    assert exporting(httpx2.Response(200, content=b"today")).export(file) == 5
    assert file.read_bytes() == b"today"
    assert list(tmp_path.iterdir()) == [file]
