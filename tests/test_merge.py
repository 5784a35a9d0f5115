"""`chatml merge`: sessions come home, by exactly the commits that were made, and nothing of a person's is touched."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from chatml.model import Family, Request, Status, now
from tests.made import commit, files, make_session, raw, write
from tests.support import TIMEOUT, Sandbox, needs, wait_until
from tests.test_halfmade import wrap, wrapped

__all__ = ["wrapped"]


def tip(sandbox: Sandbox, ref: str = "main") -> str:
    return sandbox.git("rev-parse", ref)


def shown(sandbox: Sandbox, form: str, ref: str = "main") -> str:
    return sandbox.git("log", "-1", f"--format={form}", ref)


def clean(sandbox: Sandbox) -> None:
    """Checkout, index and branch are one, and nothing is left that was only needed in between."""
    assert sandbox.git("status", "--porcelain") == ""
    left(sandbox)


def left(sandbox: Sandbox) -> None:
    git_dir = sandbox.repo / ".git"
    found = [path.name for path in git_dir.rglob("*") if path.name.endswith(".lock") and "chatml" not in path.parts]
    found += [path.name for path in git_dir.rglob("index.*")]
    assert not found
    assert not {"moving.json", "merging"} & set(os.listdir(git_dir / "chatml"))


@pytest.fixture
def worktree(sandbox: Sandbox) -> Path:
    """The session `x`, with two commits, on a base that has moved on."""
    top = make_session(sandbox, "x")
    commit(sandbox, top, "Add one", one="1\n", sub__two="2\n")
    commit(sandbox, top, "Change the readme", README_dot_md="sample\nmore\n")
    sandbox.commit("meanwhile", other="o\n")
    return top


MODES = {
    "squash": (["merge", "-q", "--squash", "chatml/x"], ["commit", "-q", "-m", "x"]),
    "no-ff": (["merge", "-q", "--no-ff", "--no-edit", "chatml/x"],),
    "rebase": (["checkout", "-q", "--detach", "chatml/x"], ["rebase", "-q", "expected"]),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.usefixtures("worktree")
def test_a_merge_gives_what_git_gives(sandbox: Sandbox, mode: str) -> None:
    sandbox.git("checkout", "-q", "-b", "expected")
    for args in MODES[mode]:
        sandbox.git(*args)
    wanted = tip(sandbox, "HEAD^{tree}"), sandbox.git("rev-list", "--count", "HEAD")
    sandbox.git("checkout", "-q", "main")
    before = tip(sandbox)
    told = sandbox.chatml("merge", f"--{mode}", "x")
    assert told.out == f"landed x in main as {tip(sandbox)[:7]}\n"
    assert told.err == ""
    assert (tip(sandbox, "main^{tree}"), sandbox.git("rev-list", "--count", "main")) == wanted
    assert sandbox.git("merge-base", "--is-ancestor", before, "main", check=False) == ""
    assert (sandbox.repo / "one").read_text() == "1\n"
    assert (sandbox.repo / "README.md").read_text() == "sample\nmore\n"
    clean(sandbox)
    assert sandbox.written("x")["landed_as"] == {
        "commit": tip(sandbox), "into": "main", "tip": tip(sandbox, "chatml/x")
    }  # fmt: skip
    assert sandbox.git("reflog", "-1", "--format=%gs", "main") == "chatml merge: x"
    again = sandbox.chatml("merge", "x")
    assert again.out == ""
    assert "left x: it has landed in main already, as" in again.err


def test_a_branch_is_only_moved_forward(sandbox: Sandbox) -> None:
    commit(sandbox, make_session(sandbox, "x"), "Add one", one="1\n")
    commit(sandbox, make_session(sandbox, "y"), "Add two", two="2\n")
    assert sandbox.chatml("merge", "--ff", "x").out == f"landed x in main as {tip(sandbox, 'chatml/x')[:7]}\n"
    assert tip(sandbox) == tip(sandbox, "chatml/x")
    clean(sandbox)
    refused = sandbox.chatml("merge", "--ff", "y", code=1)
    assert "left y: main has commits that y lacks" in refused.err
    assert "chatml merge --no-ff y" in refused.err
    assert tip(sandbox) == tip(sandbox, "chatml/x")


def test_a_squash_says_who_wrote_it_and_where_it_came_from(sandbox: Sandbox, worktree: Path) -> None:
    sandbox.git("config", "user.name", "Somebody", cwd=worktree)
    for number, author in enumerate(("Bob <bob@e>", "Eve <eve@e>", "Bob <bob@e>")):
        write(worktree, **{f"f{number}": "x"})
        sandbox.git("add", "-A", cwd=worktree)
        message = f"Part {number}\n\nCo-authored-by: Zoe <z@e>"
        sandbox.git("commit", "-qm", message, f"--author={author}", "--date=@1234567890 +0200", cwd=worktree)
    sandbox.git("config", "--unset", "user.name")
    sandbox.chatml("merge", "x")
    assert shown(sandbox, "%an <%ae> %ad|%cn") == "Bob <bob@e> Sat Feb 14 01:31:30 2009 +0200|Ada"
    assert shown(sandbox, "%B") == (
        "do x\n\n- Add one\n- Change the readme\n- Part 0\n- Part 1\n- Part 2\n\n"
        "Co-authored-by: Ada <ada@example.com>\nCo-authored-by: Zoe <z@e>\nCo-authored-by: Eve <eve@e>\n"
        "Chatml-Session: x"
    )


def test_a_single_commit_keeps_its_words(sandbox: Sandbox) -> None:
    commit(sandbox, make_session(sandbox, "x"), "Add one\n\nBecause of\n---\nthat.\n\nRefs: #1", one="1\n")
    sandbox.chatml("merge", "x")
    assert shown(sandbox, "%B") == "Add one\n\nBecause of\n---\nthat.\n\nRefs: #1\nChatml-Session: x"


@pytest.mark.usefixtures("worktree")
def test_a_merge_commit_is_called_as_git_calls_it(sandbox: Sandbox) -> None:
    sandbox.git("branch", "release")
    sandbox.chatml("merge", "--no-ff", "--into", "release", "x")
    assert shown(sandbox, "%B", "release") == "Merge branch 'chatml/x' into release\n\nChatml-Session: x"
    assert shown(sandbox, "%P %an", "release") == f"{tip(sandbox)} {tip(sandbox, 'chatml/x')} Ada"
    clean(sandbox)  # main did not move
    assert not (sandbox.repo / "one").exists()


def test_what_conflicts_is_left_and_the_rest_lands(sandbox: Sandbox) -> None:
    odd = "new\nline"
    for name in "abc":
        text = "a\n" if name == "b" else f"{name}\n"
        commit(
            sandbox, make_session(sandbox, name), f"Part {name}", **{name: "1"}, **({odd: text} if name != "c" else {})
        )
    commit(sandbox, Path(f"{sandbox.repo}.chatml") / "b", "Other", **{odd: "b\n"})
    dry = sandbox.chatml("merge", "--all", "-n", code=1)
    assert dry.out == "would land c in main\nwould land a in main\n"
    assert tip(sandbox, "main") == tip(sandbox, "chatml/a~1")
    told = sandbox.chatml("merge", "--all", "--json", code=1)
    commits = [tip(sandbox, "main~1"), tip(sandbox)]
    assert told.json == {
        "into": "main",
        "order": ["c", "a", "b"],
        "landed": [{"name": "c", "commit": commits[0]}, {"name": "a", "commit": commits[1]}],
        "left": [{"name": "b", "reason": "conflict", "files": [odd], "output": "it conflicts with main"}],
        "flaky": [],
    }
    assert told.err.startswith("left b: it conflicts with main (1 file: new line)\nhint: ")
    clean(sandbox)
    assert sandbox.git("status", "--porcelain", cwd=Path(f"{sandbox.repo}.chatml") / "b") == ""


def test_all_without_anything_to_land(sandbox: Sandbox) -> None:
    make_session(sandbox, "x")
    make_session(sandbox, "y", status=Status.STOPPED)
    told = sandbox.chatml("merge", "--all")
    assert (told.out, told.err) == ("", "nothing to land\n")
    assert sandbox.chatml("merge", "x").err.startswith("left x: it has no commits of its own\n")


# --- the checkout -----------------------------------------------------------------------------------------------


IN_THE_WAY: dict[str, Callable[[Path], object]] = {
    "changed": lambda repo: write(repo, README_dot_md="mine\n"),
    "untracked": lambda repo: write(repo, one="mine\n"),
    "ignored": lambda repo: write(repo, one="mine\n", _dot_git__info__exclude="one\n"),
    "a file for a folder": lambda repo: write(repo, sub="mine\n"),
    "a folder for a file": lambda repo: write(repo, one__deep="mine\n", _dot_git__info__exclude="deep\n"),
    "a link to a folder": lambda repo: (repo / "sub").symlink_to("/tmp"),
    "deleted": lambda repo: (repo / "README.md").unlink(),
}


@pytest.mark.parametrize("what", IN_THE_WAY)
@pytest.mark.usefixtures("worktree")
def test_nothing_of_a_persons_is_touched(sandbox: Sandbox, what: str) -> None:
    commit(sandbox, make_session(sandbox, "free"), "Free", free="f\n")
    IN_THE_WAY[what](sandbox.repo)
    write(sandbox.repo, other="also mine\n", new="untracked\n")
    sandbox.git("add", "other")
    before = files(sandbox.repo)
    index = raw(sandbox, sandbox.repo, "diff", "--cached")
    assert sandbox.chatml("merge", "x", "-n", code=1).out == ""
    told = sandbox.chatml("merge", "x", "free", "--json", code=1)
    assert [one["name"] for one in told.json["landed"]] == ["free"]
    (one,) = told.json["left"]
    assert (one["name"], one["reason"]) == ("x", "dirty")
    assert one["files"]
    assert files(sandbox.repo) == {**before, os.fsencode(sandbox.repo / "free"): ("file", b"f\n")}
    assert raw(sandbox, sandbox.repo, "diff", "--cached") == index
    left(sandbox)


@pytest.mark.usefixtures("worktree")
def test_what_is_uncommitted_elsewhere_stays(sandbox: Sandbox) -> None:
    write(sandbox.repo, other="mine\n", own="new\n", sub__own="beside\n")
    sandbox.git("add", "own")
    os.utime(sandbox.repo / "README.md")  # changed in time alone
    sandbox.chatml("merge", "x")
    assert sandbox.git("status", "--porcelain") == "M other\nA  own\n?? sub/own"
    assert (sandbox.repo / "sub" / "two").read_text() == "2\n"
    left(sandbox)


@pytest.mark.parametrize("what", ["rebase", "bisect", "merge", "lock"])
@pytest.mark.usefixtures("worktree")
def test_a_checkout_amid_something_is_left_alone(sandbox: Sandbox, what: str) -> None:
    if what == "rebase":
        sandbox.git("rebase", "-q", "-x", "false", "main~1", check=False)
    elif what == "bisect":
        sandbox.git("bisect", "start")
        sandbox.git("checkout", "-q", "--detach", "main~1")
    elif what == "merge":
        sandbox.git("checkout", "-qb", "beside", "main~1")
        sandbox.commit("beside", beside="b")
        sandbox.git("checkout", "-q", "main")
        sandbox.git("merge", "-q", "--no-commit", "beside")
    else:
        (sandbox.repo / ".git" / "index.lock").touch()
    before = tip(sandbox), sandbox.git("status", "--porcelain")
    told = sandbox.chatml("merge", "x", code=1)
    assert ("in progress on main" in told.err) == (what != "lock"), told
    assert (tip(sandbox), sandbox.git("status", "--porcelain")) == before
    if what == "lock":
        (sandbox.repo / ".git" / "index.lock").unlink()
        sandbox.chatml("merge", "x")
        clean(sandbox)


@pytest.mark.usefixtures("worktree")
def test_a_branch_that_another_worktree_has(sandbox: Sandbox, tmp_path: Path) -> None:
    place = tmp_path / "a place"
    sandbox.git("checkout", "-q", "-b", "else")
    sandbox.git("worktree", "add", "-q", str(place), "main")
    sandbox.chatml("merge", "x")
    assert (place / "one").read_text() == "1\n"
    assert sandbox.git("status", "--porcelain", cwd=place) == ""
    assert not (sandbox.repo / "one").exists()
    clean(sandbox)


def test_a_bare_repository(sandbox: Sandbox, worktree: Path) -> None:
    sandbox.git("config", "core.bare", "true")
    sandbox.chatml("merge", "x", cwd=worktree)
    assert shown(sandbox, "%s") == "do x"


def test_the_attributes_and_drivers_of_the_branch_count(sandbox: Sandbox) -> None:
    sandbox.commit("attributes", _dot_gitattributes="log merge=union\nsub/* merge=ours\n", log="0\n", sub__f="0\n")
    sandbox.git("config", "merge.ours.driver", "true")
    commit(sandbox, make_session(sandbox, "x"), "x", log="0\nx\n", sub__f="x\n")
    sandbox.commit("y", log="0\ny\n", sub__f="y\n")
    sandbox.chatml("merge", "x")
    assert (sandbox.repo / "log").read_text() == "0\ny\nx\n"
    assert (sandbox.repo / "sub" / "f").read_text() == "y\n"


# --- sessions ---------------------------------------------------------------------------------------------------


def test_uncommitted_work_is_left_unless_it_is_committed(sandbox: Sandbox, worktree: Path) -> None:
    write(worktree, late="l\n")
    before = tip(sandbox)
    told = sandbox.chatml("merge", "x", "--json", code=1)
    assert told.json["left"] == [
        {"name": "x", "reason": "dirty", "files": ["late"], "output": "it has uncommitted work"}
    ]  # fmt: skip
    assert sandbox.chatml("merge", "x", "-n", "--commit", "The last of it").out == "would land x in main\n"
    assert tip(sandbox) == before
    sandbox.chatml("merge", "x", "--commit", "The last of it")
    assert shown(sandbox, "%s", "chatml/x") == "The last of it"
    assert (sandbox.repo / "late").read_text() == "l\n"
    clean(sandbox)


def test_who_comes_after_others_lands_behind_them(sandbox: Sandbox) -> None:
    first = make_session(sandbox, "first")
    commit(sandbox, first, "First", same="1\n")
    second = make_session(sandbox, "second", base="chatml/first", after=("first",))
    record = sandbox.state("second") / "session.json"
    data = json.loads(record.read_text())
    data["base"]["ref"] = "main"
    record.write_text(json.dumps(data))
    commit(sandbox, second, "Second", same="2\n")
    told = sandbox.chatml("merge", "second", "first", "--json").json
    assert told["order"] == [one["name"] for one in told["landed"]] == ["first", "second"]
    assert (sandbox.repo / "same").read_text() == "2\n"
    commit(sandbox, second, "Third", same="3\n")  # by then its branch knows nothing of the squash
    sandbox.chatml("merge", "second")
    assert (sandbox.repo / "same").read_text() == "3\n"
    assert shown(sandbox, "%s") == "Third"
    clean(sandbox)


@pytest.mark.usefixtures("worktree")
def test_a_session_on_the_base_itself_keeps_nobody_from_landing(sandbox: Sandbox) -> None:
    sandbox.git("checkout", "-q", "--detach")
    make_session(sandbox, "itself", branch="main")
    assert [one["name"] for one in sandbox.chatml("merge", "--all", "--json").json["landed"]] == ["x"]
    assert (Path(f"{sandbox.repo}.chatml") / "itself" / "one").exists()


@pytest.mark.usefixtures("worktree")
def test_who_is_at_work_is_left(sandbox: Sandbox) -> None:
    asked = (Request("1", "permission", "Bash: ls", {"tool": "Bash", "input": {"command": "ls"}}, now()),)
    commit(sandbox, make_session(sandbox, "q", status=Status.WAITING, requests=asked), "q", q="q")
    told = sandbox.chatml("merge", "q", "--json", code=1).json
    assert told["left"][0]["reason"] == "running"
    assert [one["name"] for one in sandbox.chatml("merge", "--all", "--json").json["landed"]] == ["x"]


@pytest.mark.usefixtures("worktree")
def test_where_it_can_not_land(sandbox: Sandbox) -> None:
    assert "did you mean 'main'?" in sandbox.chatml("merge", "x", "--into", "mian", code=1).err
    make_session(sandbox, "lost", base=tip(sandbox))
    commit(sandbox, Path(f"{sandbox.repo}.chatml") / "lost", "l", lost="1")
    assert "--into BRANCH lost" in sandbox.chatml("merge", "lost", code=1).err
    sandbox.git("branch", "release")
    commit(sandbox, make_session(sandbox, "other", base="release"), "o", o="1")
    assert "several branches: main (x); release (other)" in sandbox.chatml("merge", "x", "other", code=2).err
    asked = (Request("1", "permission", "Bash: ls", {"tool": "Bash", "input": {"command": "ls"}}, now()),)
    make_session(sandbox, "busy", status=Status.WAITING, requests=asked)
    assert "whose agent is at work" in sandbox.chatml("merge", "x", "--into", "chatml/busy", code=1).err
    assert "no session named 'y'" in sandbox.chatml("merge", "x", "y", code=1).err
    assert sandbox.git("log", "-1", "--format=%s") == "meanwhile"


@pytest.mark.usefixtures("worktree")
def test_an_agent_lands_its_own_children_in_its_own_branch(sandbox: Sandbox) -> None:
    parent = make_session(sandbox, "parent", status=Status.DONE)
    ident = sandbox.written("parent")["id"]
    child = make_session(sandbox, "child", base="chatml/parent", family=Family("parent", ident))
    commit(sandbox, child, "Child", child="c\n")
    env = {"CHATML_SESSION_ID": ident}
    assert "an agent can't merge 'x'" in sandbox.chatml("merge", "x", code=1, env=env).err
    assert "an agent can't land anything in main" in sandbox.chatml(
        "merge", "child", "--into", "main", code=1, env=env
    ).err  # fmt: skip
    assert sandbox.chatml("merge", "--all", env=env, cwd=parent).out.startswith("landed child in chatml/parent as")
    assert (parent / "child").read_text() == "c\n"
    assert [one["name"] for one in sandbox.chatml("merge", "--all", "--json").json["landed"]] == ["parent", "x"]


def test_what_landed_is_removed(sandbox: Sandbox, worktree: Path) -> None:
    sandbox.git("branch", "release")
    told = sandbox.chatml("merge", "x", "--rm", "--into", "release")
    assert "removed x; branch chatml/x deleted (landed in release)" in told.err
    assert not worktree.exists()
    sandbox.chatml("restore", "x")
    assert (worktree / "one").exists()


def test_who_is_left_is_told_what_went_wrong(sandbox: Sandbox) -> None:
    top = make_session(sandbox, "x", agent="quick", command=("sh", "-c", "echo done"))
    commit(sandbox, top, "x", README_dot_md="x\n")
    sandbox.commit("y", README_dot_md="y\n")
    told = sandbox.chatml("merge", "x", "--resolve", code=1)
    assert "told x what went wrong" in told.err
    said = (sandbox.state("x") / "inbox.jsonl").read_text()
    assert "[from chatml] Your work could not be landed in main" in said
    assert f"git merge {tip(sandbox)}" in said
    assert "- README.md" in said
    sandbox.until("x", "done")


# --- hooks, signatures, editors ---------------------------------------------------------------------------------


def hook(sandbox: Sandbox, name: str, text: str) -> None:
    path = sandbox.repo / ".git" / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.usefixtures("worktree")
def test_hooks_run_and_may_refuse(sandbox: Sandbox) -> None:
    commit(sandbox, make_session(sandbox, "y"), "y", y="y\n")
    hook(sandbox, "commit-msg", 'echo "By: hook" >> "$1"')
    hook(sandbox, "post-merge", "echo thanks $1")
    assert sandbox.chatml("merge", "x").err == "thanks 0\n"
    assert shown(sandbox, "%B").endswith("Chatml-Session: x\nBy: hook")
    hook(sandbox, "commit-msg", "echo no good; exit 1")
    before = tip(sandbox)
    told = sandbox.chatml("merge", "y", "--json", code=1)
    assert told.json["left"] == [{"name": "y", "reason": "check", "files": [], "output": "no good"}]
    assert "left y: the commit-msg hook refused it\n  no good\n" in told.err
    assert tip(sandbox) == before
    clean(sandbox)


@pytest.mark.usefixtures("worktree")
def test_a_hook_sees_the_merge_that_is_to_be(sandbox: Sandbox) -> None:
    write(sandbox.repo, other="mine\n")
    hook(
        sandbox, "pre-merge-commit",
        "git symbolic-ref HEAD; git status --porcelain; cat one other; echo bad > other; git checkout -q -- .",
    )  # fmt: skip
    hook(sandbox, "commit-msg", "exit 0")
    sandbox.chatml("merge", "--no-ff", "x")
    assert (sandbox.repo / "other").read_text() == "mine\n"
    commit(sandbox, make_session(sandbox, "y"), "y", y="y\n")
    hook(sandbox, "pre-merge-commit", "git symbolic-ref HEAD; git diff --name-only; cat one y; exit 1")
    told = sandbox.chatml("merge", "--no-ff", "y", "--json", code=1).json
    assert told["left"][0]["output"] == "refs/heads/main\n1\ny"
    left(sandbox)


@needs("ssh-keygen")
@pytest.mark.usefixtures("worktree")
def test_commits_are_signed(sandbox: Sandbox) -> None:
    key = sandbox.home / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=TIMEOUT)
    allowed = sandbox.home / "allowed"
    allowed.write_text(f"ada@example.com {key.with_suffix('.pub').read_text()}")
    for name, value in (
        ("gpg.format", "ssh"), ("user.signingKey", str(key)), ("commit.gpgSign", "true"),
        ("gpg.ssh.allowedSignersFile", str(allowed)),
    ):  # fmt: skip
        sandbox.git("config", name, value)
    sandbox.chatml("merge", "--rebase", "x")
    assert sandbox.git("log", "-2", "--format=%G?", "main").split() == ["G", "G"]
    commit(sandbox, make_session(sandbox, "y"), "y", y="y\n")
    key.unlink()
    before = tip(sandbox)
    assert "no commit could be made, so nothing was landed" in sandbox.chatml("merge", "y", code=1).err
    assert tip(sandbox) == before
    clean(sandbox)


@pytest.mark.usefixtures("worktree")
def test_a_message_is_edited(sandbox: Sandbox) -> None:
    editor = sandbox.home / "editor"
    editor.write_text(
        '#!/bin/sh\nprintf \'Mine\\n\\n# not this\\n\' > "$1.new"; cat "$1" >> "$1.new"; mv "$1.new" "$1"\n'
    )
    editor.chmod(0o700)
    sandbox.chatml("merge", "x", "--edit", env={"VISUAL": str(editor), "EDITOR": str(editor)})
    assert shown(sandbox, "%B").startswith("Mine\n\ndo x\n\n- Add one")
    editor.write_text('#!/bin/sh\n: > "$1"\n')
    commit(sandbox, make_session(sandbox, "y"), "y", y="y\n")
    before = tip(sandbox)
    refused = sandbox.chatml("merge", "y", "--edit", code=1, env={"VISUAL": str(editor), "EDITOR": str(editor)})
    assert "the message for 'y' is empty, so nothing was landed" in refused.err
    assert tip(sandbox) == before


# --- others at work ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("worktree")
def test_a_branch_that_moves_meanwhile(sandbox: Sandbox) -> None:
    """The hook of the commit is the moment in between."""
    hook(
        sandbox, "commit-msg",
        'test -e .git/raced && exit 0; touch .git/raced; echo r > raced; git add raced; git commit -qnm "raced"',
    )  # fmt: skip
    sandbox.chatml("merge", "x")
    assert sandbox.git("log", "--format=%s", "-3", "main").split("\n") == ["do x", "raced", "meanwhile"]
    clean(sandbox)


@pytest.mark.usefixtures("worktree")
def test_two_at_once(sandbox: Sandbox) -> None:
    commit(sandbox, make_session(sandbox, "y"), "y", y="y\n")
    hook(
        sandbox,
        "commit-msg",
        'grep -q "Session: x" "$1" || exit 0; touch .git/in; until test -e .git/go; do sleep 0.02; done',
    )
    first = sandbox.start("merge", "x")
    wait_until((sandbox.repo / ".git" / "in").exists, "the first to be at work")
    second = sandbox.start("merge", "y")
    second_waits = sandbox.repo / ".git" / "chatml" / "merge.lock"
    assert second_waits.exists()
    (sandbox.repo / ".git" / "go").touch()
    assert (first.wait(TIMEOUT), second.wait(TIMEOUT)) == (0, 0)
    assert sandbox.git("log", "--format=%s", "-2", "main").split("\n") == ["y", "do x"]
    clean(sandbox)


# --- killed -----------------------------------------------------------------------------------------------------

KILLED = """#!/bin/sh
case "$*" in *"{command}"*) {before} {{git}} "$@"; kill -9 $PPID; exit 1;; esac
exec {{git}} "$@"
"""
"""A git that kills who calls it, at one command."""


def killed(sandbox: Sandbox, folder: Path, command: str, before: str = "", verb: str = "merge") -> None:
    """`merge x`, killed at that command of git's, which runs to its end unless `before` says otherwise."""
    path = sandbox.env["PATH"]
    wrap(folder, KILLED.format(command=command, before=before))
    done = subprocess.run(
        sandbox.command(verb, "x"),
        cwd=sandbox.repo,
        env=sandbox.env,
        capture_output=True,
        check=False,
        timeout=TIMEOUT,
    )
    assert done.returncode == -9, done
    sandbox.env["PATH"] = path.removeprefix(f"{folder}:")


@pytest.mark.usefixtures("worktree")
@pytest.mark.parametrize(
    ("command", "before", "moved"),
    [("update-index", "", False), ("read-tree -m", ":", False), ("read-tree -m", "", False),
     ("update-ref -m", ":", False), ("update-ref -m", "", True)],
)  # fmt: skip
def test_a_merge_that_was_killed_is_put_right(
    sandbox: Sandbox, wrapped: Path, command: str, before: str, moved: bool
) -> None:
    (sandbox.repo / "README.md").chmod(0o644)
    old = tip(sandbox)
    killed(sandbox, wrapped, command, before)
    told = [one for one in sandbox.chatml("doctor", "--json", code=None).json if "broken off" in one["message"]]
    assert len(told) == 1
    sandbox.chatml("rm", "nobody", code=1)
    assert (tip(sandbox) != old) == moved
    clean(sandbox)
    assert (sandbox.repo / "one").exists() == moved
    assert (sandbox.written("x")["landed_as"] is not None) == moved
    sandbox.chatml("merge", "x")
    assert (sandbox.repo / "README.md").read_text() == "sample\nmore\n"
    clean(sandbox)


@pytest.mark.usefixtures("worktree")
def test_what_a_person_did_after_a_kill_is_left(sandbox: Sandbox, wrapped: Path) -> None:
    killed(sandbox, wrapped, "read-tree -m")
    write(sandbox.repo, README_dot_md="mine\n")
    (sandbox.repo / "sub" / "own").write_text("beside\n")
    told = sandbox.chatml("rm", "nobody", code=1)
    assert f"files changed since are left as they are in {sandbox.repo}: README.md" in told.err
    assert sandbox.git("status", "--porcelain") == "M README.md\n?? sub/"
    assert (sandbox.repo / "README.md").read_text() == "mine\n"
    left(sandbox)


@pytest.mark.usefixtures("worktree")
def test_half_a_file_is_not_taken_for_a_persons(sandbox: Sandbox, wrapped: Path) -> None:
    killed(sandbox, wrapped, "read-tree -m")
    (sandbox.repo / "README.md").write_text("sample\nmo")
    (sandbox.repo / "one").unlink()
    assert "broken off" not in sandbox.chatml("rm", "nobody", code=1).err
    clean(sandbox)


@pytest.mark.usefixtures("worktree")
def test_a_lock_that_was_removed_by_hand(sandbox: Sandbox, wrapped: Path) -> None:
    killed(sandbox, wrapped, "read-tree -m")
    (sandbox.repo / ".git" / "index.lock").unlink()
    sandbox.git("add", "-A")
    sandbox.git("commit", "-qm", "mine by now")
    assert "its lock removed by hand" in sandbox.chatml("rm", "nobody", code=1).err
    assert sandbox.git("log", "-1", "--format=%s") == "mine by now"
    clean(sandbox)
