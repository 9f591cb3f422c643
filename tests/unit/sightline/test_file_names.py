"""Whatever a camera is called, its file lies where it should, and no two share one."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sightline.file_names import file_name

NAMES = st.one_of(
    st.text(max_size=300), st.sampled_from(["", ".", "..", "../../x", "/etc/x", "a\\b", "C:x", "a\0b", "x" * 5000])
)


@given(NAMES)
def test_a_name_is_one_plain_file_in_its_folder(text: str) -> None:
    name = file_name(text)
    assert Path("/spool", name).parent == Path("/spool")
    assert Path("/spool", name).resolve().parent == Path("/spool")
    assert 0 < len(name.encode()) <= 120
    assert name.isprintable()
    assert not name.startswith(".")


@given(NAMES, NAMES)
def test_different_texts_have_different_files(one: str, other: str) -> None:
    assert (file_name(one) == file_name(other)) == (one == other)


def test_plain_names_stay_as_they_are() -> None:
    assert file_name("cam-1_north.a") == "cam-1_north.a"
