"""Variables set in a `.env` file: by python-dotenv's own reading, and not a byte of anything else."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from dotenv import dotenv_values
from dotenv.parser import parse_stream
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatml.errors import ChatmlError
from chatml.workspace.dotenv import set_in, with_values
from tests.support import thinned

logging.getLogger("dotenv.main").setLevel(logging.ERROR)

NAMES = ("PORT", "URL", "A")

TEXT = st.text(st.sampled_from("AB =#'\"\\\n\r\t$x\x00\x0b\x85\u00e9") | st.characters(codec="utf-8"), max_size=12)

LINES = st.one_of(
    TEXT,
    st.builds("{}={}".format, st.sampled_from([*NAMES, "B", "export A", " A ", "'A'"]), TEXT),
    st.builds("A='{}'".format, TEXT),
    st.builds('B="{}" # {}'.format, TEXT, TEXT),
)

FILES = st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\r", ""])), max_size=6).map(
    lambda lines: "".join(line + end for line, end in lines)
)


def read(text: str) -> dict[str, str | None]:
    return dict(dotenv_values(stream=io.StringIO(text, newline=""), interpolate=False))


@settings(max_examples=100, deadline=None)
@given(FILES, st.dictionaries(st.sampled_from(NAMES), TEXT.filter(lambda text: "\0" not in text), min_size=1))
@example("A=1", {"A": "2"})
@example("A='x\nB=1'\nB=2 # c\n", {"B": "3"})
def test_only_the_variables_named_are_changed_whatever_the_file(text: str, values: dict[str, str]) -> None:
    try:
        after = with_values(text.encode("utf-8"), values).decode("utf-8")
    except ValueError:
        assert any(one.error for one in parse_stream(io.StringIO(text, newline=""))), "only in what is broken already"
        return
    assert read(after) == {**read(text), **values}
    assert with_values(after.encode(), values) == after.encode(), "a second time changes nothing"
    assert [*others(after, values)] == [*others(text, values)], "all else is as it was, in its order"


def others(text: str, values: dict[str, str]) -> Iterator[str]:
    """Each other line as it is written: but for the end of the last one, which something may follow now."""
    for one in parse_stream(io.StringIO(text, newline="")):
        if (one.key not in values or one.value is None) and (written := one.original.string.strip()):
            yield written


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["1", "a b"]), min_size=1))
def test_bytes_that_are_no_text_stay(content: bytes, values: dict[str, str]) -> None:
    after = with_values(content, values)
    if not any(name.encode() in content for name in NAMES):
        assert content in after
    assert with_values(after, values) == after


@pytest.mark.parametrize(
    ("before", "values", "after"),
    [
        (
            b"# c\nexport PORT = 3000 # the port\nB='x y'\n",
            {"PORT": "1"},
            b"# c\nexport PORT = 1 # the port\nB='x y'\n",
        ),
        (b"A=1\r\nPORT=2\r\n", {"PORT": "3", "N": "4"}, b"A=1\r\nPORT=3\r\nN=4\r\n"),
        (b"A=1", {"N": "4"}, b"A=1\nN=4"),
        (b"", {"N": "a b"}, b"N='a b'\n"),
        (b'A="1"\nA=2\n', {"A": "3"}, b"A=3\nA=3\n"),
        (b'A="same"\n', {"A": "same"}, b'A="same"\n'),
        (b"A=\n", {"A": 'it\'s \\ "x"\n$y'}, b'A="it\'s \\\\ \\"x\\"\\n$y"\n'),
        (b"A='multi\nPORT=1\n'\n", {"PORT": "2"}, b"A='multi\nPORT=1\n'\nPORT=2\n"),
        (b"it's broken\nPORT=1\n", {"PORT": "2", "N": "a b"}, b"N='a b'\nit's broken\nPORT=2\n"),
        (b"a\0b\nPORT=1\n", {"PORT": "2"}, b"a\0b\nPORT=2\n"),
    ],
)
def test_what_stays_and_what_changes(before: bytes, values: dict[str, str], after: bytes) -> None:
    assert with_values(before, values) == after


@pytest.mark.parametrize("size", thinned([10_000_000, 200_000][::-1], every=2))
def test_a_large_file_is_gone_through_once(size: int) -> None:
    """Also where a quote is never closed: whoever looks for its end at each line is at it for ever."""
    for line in (b"KEY=value # comment\n", b"x" * 79 + b"\n", b"'" * 79 + b"\n", b"=" * 79 + b"\n"):
        content = line * (size // len(line))
        assert with_values(content + b"PORT=1\n", {"PORT": "2"}) == content + b"PORT=2\n"


def test_a_missing_file_is_made_and_a_mode_is_kept(tmp_path: Path) -> None:
    assert set_in(tmp_path, "conf/.env", {"A": "1"})
    assert (tmp_path / "conf" / ".env").read_text() == "A=1\n"
    (tmp_path / ".env").write_text("A=2\n")
    (tmp_path / ".env").chmod(0o440)
    assert set_in(tmp_path, ".env", {"A": "1"})
    assert not set_in(tmp_path, ".env", {"A": "1"})
    assert (tmp_path / ".env").read_text() == "A=1\n"
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o440
    assert sorted(os.listdir(tmp_path)) == [".env", "conf"]


def test_a_link_is_followed_within_the_worktree_and_not_out_of_it(tmp_path: Path) -> None:
    worktree = tmp_path / "w"
    (worktree / "conf").mkdir(parents=True)
    (worktree / ".git").write_text("gitdir: x")
    (tmp_path / "secret").write_text("A=0\n")
    (worktree / "inside").symlink_to("conf/env")
    assert set_in(worktree, "inside", {"A": "1"})
    assert (worktree / "conf" / "env").read_text() == "A=1\n"
    assert (worktree / "inside").is_symlink()
    for name, target in (("out", "../secret"), ("abs", str(tmp_path / "secret")), ("git", ".git"), ("dir", "..")):
        (worktree / name).symlink_to(target)
        with pytest.raises(ChatmlError, match="leads out of the worktree" if name != "folder" else "is no file"):
            set_in(worktree, name, {"A": "1"})
    with pytest.raises(ChatmlError, match="leads out of the worktree"):
        set_in(worktree, "dir/secret", {"A": "1"})
    with pytest.raises(ChatmlError, match="is no file"):
        set_in(worktree, "conf", {"A": "1"})
    os.mkfifo(worktree / "pipe")
    with pytest.raises(ChatmlError, match="is no file"):
        set_in(worktree, "pipe", {"A": "1"})
    assert (tmp_path / "secret").read_text() == "A=0\n"
    assert (worktree / ".git").read_text() == "gitdir: x"
