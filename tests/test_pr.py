"""`chatml pr`: a real git push, and the real gh against a scripted GitHub.

One session with two commits is made by the real agent; every test finds the repository as it was then.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chatml.forge.github import verdict
from chatml.scripted.api import ScriptedApi
from tests.conftest import GITCONFIG
from tests.github import Failure, GitHub
from tests.hints import follow
from tests.support import Result, Sandbox, init_repository, marked_processes, sealed_env, thinned, wait_until

pytestmark = pytest.mark.skipif(shutil.which("gh") is None, reason="gh is not installed")

NAME, BRANCH = "limit", "chatml/limit"
ORIGIN, FORK = "http://github.localhost/octo/app.git", "http://github.localhost/me/app.git"
PROMPT = "Add rate limiting to every public endpoint, with a sensible default that operators can change\nand more"
ANSWER = "Every endpoint is limited now."
COMMIT = "printf '%s\\n' {0} > {0} && git add -A && git commit -qm 'Add {0}'"
SCRIPT = {"*": [{"Bash": {"command": COMMIT.format("one")}}, {"Bash": {"command": COMMIT.format("two")}}, ANSWER]}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with home, repository, remotes and a session at rest; never worked in."""
    top = tmp_path_factory.mktemp("pr")
    root = top / "live"
    home, app = root / "home", root / "app"
    home.mkdir(parents=True)
    (home / ".gitconfig").write_text(GITCONFIG)
    with ScriptedApi(SCRIPT) as api:
        sandbox = Sandbox(home, app, sealed_env(home, api.url))
        init_repository(app, sandbox.env)
        for owner in ("octo", "me"):
            sandbox.git("clone", "-q", "--bare", str(app), str(root / f"{owner}.git"))
        sandbox.git("remote", "add", "origin", "http://github.localhost/octo/app.git")
        for owner in ("octo", "me"):
            real = f"http://github.localhost/{owner}/app.git"
            # Only for pushing: gh must still see where the remote is.
            sandbox.git("config", f"url.{root / f'{owner}.git'}.pushInsteadOf", real)
        sandbox.chatml("new", PROMPT, "--name", NAME, "-q", "--wait")
        wait_until(lambda: not marked_processes(home), "the worker to end")
    root.rename(top / "pristine")
    return top / "pristine"


@pytest.fixture
def sandbox(pristine: Path) -> Iterator[Sandbox]:
    """The session as it was made, at the same place."""
    root = pristine.with_name("live")
    shutil.copytree(pristine, root, symlinks=True)
    yield Sandbox(root / "home", root / "app", sealed_env(root / "home"))
    assert not marked_processes(root / "home")
    shutil.rmtree(root)


@pytest.fixture
def github(sandbox: Sandbox) -> Iterator[GitHub]:
    root = sandbox.repo.parent
    served = GitHub({"octo/app": root / "octo.git", "me/app": root / "me.git"})
    sandbox.env.update(served.env)
    yield served
    served.close()


def worktree(sandbox: Sandbox) -> Path:
    return sandbox.repo.with_name("app.chatml") / NAME


def commit_more(sandbox: Sandbox, subject: str, *options: str) -> str:
    """Commit something more in the session's worktree."""
    path = worktree(sandbox)
    (path / "more").write_text(subject)
    sandbox.git("add", "-A", cwd=path)
    sandbox.git("commit", "-qm", subject, *options, cwd=path)
    return sandbox.git("rev-parse", "HEAD", cwd=path)


def fails(result: Result, *parts: str) -> None:
    """One clear line, one hint, nothing on stdout."""
    assert result.code == 1
    assert result.out == ""
    lines = [line for line in result.err.splitlines() if not line.startswith("pushed ")]
    assert [line.split(":")[0] for line in lines] == ["error", "hint"], result.err
    for part in parts:
        assert part in result.err


def test_opens_a_pull_request_and_finds_it_again(sandbox: Sandbox, github: GitHub) -> None:
    opened = sandbox.chatml("pr", NAME)
    assert opened.out == "http://github.localhost/octo/app/pull/1\n"
    assert opened.err == f"pushed {BRANCH} to origin\nopened #1\n"
    tip = sandbox.git("rev-parse", BRANCH)
    assert github.tip("octo/app", BRANCH) == tip
    [pull] = github.pulls
    assert pull.title == "Add rate limiting to every public endpoint, with a sensible default…"
    assert pull.body == f"{ANSWER}\n\n- Add one\n- Add two"
    assert (pull.base, pull.head, pull.draft) == ("main", BRANCH, False)
    shown = {"number": 1, "url": github.url("octo/app", 1), "state": "open", "checks": None}
    more = {"draft": False, "review": None, "mergeable": None}
    recorded = sandbox.session(NAME)["pr"]
    assert recorded == {**shown, **more, "at": recorded["at"]}

    pull.checks = [{"__typename": "CheckRun", "name": "ci", "status": "COMPLETED", "conclusion": "SUCCESS"}]
    again = sandbox.chatml("pr", "--json", cwd=worktree(sandbox))
    assert again.json == {**shown, **more, "checks": "passing", "at": again.json["at"], "created": False}
    assert again.json["at"] > recorded["at"]
    assert again.err == f"{BRANCH} is on origin already\n#1 is open already\n"
    assert sandbox.session(NAME)["pr"]["checks"] == "passing"

    newer = commit_more(sandbox, "Add three")
    quiet = sandbox.chatml("pr", NAME, "-q", "--title", "Limit\nrates", "--base", "release")
    assert (quiet.out, quiet.err) == ("http://github.localhost/octo/app/pull/1\n", "")
    assert github.tip("octo/app", BRANCH) == newer
    assert (pull.title, pull.base) == ("Limit rates", "release")
    assert pull.body.startswith(ANSWER)
    assert len(github.pulls) == 1


def test_title_body_and_template(sandbox: Sandbox, github: GitHub) -> None:
    path = worktree(sandbox)
    for name, text in {".github/Pull_Request_Template.md": "## Checklist\n\n- [ ] tests\n", "docs/x.md": ""}.items():
        (path / name).parent.mkdir()
        (path / name).write_text(text)
    opened = sandbox.chatml("pr", NAME, "--commit", "Add the\ntemplate", "--draft", "--json")
    assert opened.json["created"] is True
    assert sandbox.git("log", "-1", "--format=%an: %s", BRANCH) == "Ada: Add the template"
    assert sandbox.git("status", "--porcelain", cwd=path) == ""
    [pull] = github.pulls
    assert pull.body == f"{ANSWER}\n\n- Add one\n- Add two\n- Add the template\n\n## Checklist\n\n- [ ] tests"
    assert pull.draft

    assert "gh pr ready --undo" not in sandbox.chatml("pr", NAME, "--draft").err
    sandbox.chatml("pr", NAME, "--body", "-", stdin="By hand: Ä\n")
    assert pull.body == "By hand: Ä\n"


def test_one_commit_gives_the_title(sandbox: Sandbox, github: GitHub) -> None:
    sandbox.git("reset", "-q", "--hard", "HEAD~1", cwd=worktree(sandbox))
    hook = sandbox.env | {"GIT_DIR": str(sandbox.home), "GIT_INDEX_FILE": "/nowhere"}  # as inside somebody's hook
    sandbox.chatml("pr", NAME, env=hook)
    assert (github.pulls[0].title, github.pulls[0].body) == ("Add one", ANSWER)


@pytest.mark.parametrize(
    ("ref", "expected"),
    [("aside", "aside"), ("origin/release/1", "release/1"), ("HEAD", "main"), ("aside~0", "main"), ("v1", "main")],
)
def test_base_branch(sandbox: Sandbox, github: GitHub, ref: str, expected: str) -> None:
    sandbox.git("push", "-q", "origin", "main:release/1", "main:aside")
    sandbox.git("update-ref", "refs/remotes/origin/release/1", "main")
    sandbox.git("tag", "v1")
    sandbox.git("checkout", "-q", "-b", "aside")
    record = sandbox.state(NAME) / "session.json"
    record.write_text(record.read_text().replace('"ref":"main"', f'"ref":"{ref}"'))
    sandbox.chatml("pr", NAME)
    assert github.pulls[0].base == expected


def test_a_base_that_is_not_on_github_yet(sandbox: Sandbox, github: GitHub) -> None:
    fails(sandbox.chatml("pr", NAME, "--base", "next", code=1), "Base ref must be a branch", "--base", "is pushed")
    assert github.tip("octo/app", BRANCH)
    sandbox.git("push", "-q", "origin", "main:next")
    assert sandbox.chatml("pr", NAME, "--base", "next").err.endswith("opened #1\n")


def test_closed_and_merged_ones(sandbox: Sandbox, github: GitHub) -> None:
    sandbox.chatml("pr", NAME)
    github.pulls[0].state, github.pulls[0].commit = "CLOSED", github.tip("octo/app", BRANCH)
    assert sandbox.chatml("pr", NAME).out.endswith("/pull/2\n")

    github.pulls[1].state, github.pulls[1].commit = "MERGED", github.tip("octo/app", BRANCH)
    sandbox.git("push", "-q", "origin", "--delete", BRANCH)
    merged = sandbox.chatml("pr", NAME, "--json")
    assert (merged.json["number"], merged.json["state"], merged.json["created"]) == (2, "merged", False)
    assert merged.err == "#2 is merged, and nothing new came since\n"
    assert github.tip("octo/app", BRANCH) is None

    commit_more(sandbox, "Add four")
    assert sandbox.chatml("pr", NAME).out.endswith("/pull/3\n")


def test_two_at_once_open_one(sandbox: Sandbox, github: GitHub) -> None:
    both = [sandbox.start("pr", NAME, "--json") for _ in range(2)]
    outs = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], outs
    assert len(github.pulls) == 1


def test_another_one_on_the_way_is_taken(sandbox: Sandbox, github: GitHub) -> None:
    """The answer is lost though the pull request was made; and one of another owner's branch is no business of ours."""
    sandbox.git("push", "-q", str(sandbox.repo.parent / "me.git"), f"main:{BRANCH}")
    github._create({"repositoryId": "octo/app", "headRefName": f"me:{BRANCH}", "baseRefName": "main", **EMPTY})
    github.failures["PullRequestCreate"] = Failure("Something went wrong", done=True)
    done = sandbox.chatml("pr", NAME, "--json")
    assert (done.json["number"], done.json["created"]) == (2, False)


EMPTY = {"title": "", "body": "", "draft": False}


def test_pushed_but_not_opened_is_finished_by_the_next_call(sandbox: Sandbox, github: GitHub) -> None:
    github.failures["PullRequestCreate"] = Failure("Something went wrong")
    fails(sandbox.chatml("pr", NAME, code=1), "gh pr create: Something went wrong", f"'chatml pr {NAME}'")
    assert github.tip("octo/app", BRANCH)
    assert sandbox.session(NAME)["pr"] is None
    assert sandbox.chatml("pr", NAME).err == f"{BRANCH} is on origin already\nopened #1\n"


def test_uncommitted_work(sandbox: Sandbox, github: GitHub) -> None:
    (worktree(sandbox) / "left over").write_text("x")
    fails(sandbox.chatml("pr", NAME, code=1), "has uncommitted work", f"chatml pr {NAME} --commit MESSAGE")
    assert sandbox.chatml("pr", NAME, "--commit", " ", code=2).err.startswith("error: --commit is empty")

    hook = sandbox.repo / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\necho 'tests are red' >&2\nexit 1\n")
    hook.chmod(0o755)
    fails(sandbox.chatml("pr", NAME, "--commit", "All", code=1), "could not commit: tests are red")
    assert github.tip("octo/app", BRANCH) is None


def inner_repository(sandbox: Sandbox, path: Path, commits: int) -> None:
    sandbox.git("init", "-q", str(path))
    (path / "file").write_text("inner\n")
    for number in range(commits):
        sandbox.git("add", "-A", cwd=path)
        sandbox.git("commit", "-q", "--allow-empty", "-m", f"inner {number}", cwd=path)


def published(sandbox: Sandbox, github: GitHub) -> str:
    listed = ["ls-tree", "-r", "--name-only", f"refs/heads/{BRANCH}"]
    return sandbox.git("--git-dir", str(github.repositories["octo/app"]), *listed)


@pytest.mark.parametrize("commits", [0, 1])
def test_a_repository_inside_is_never_published_without_its_files(
    sandbox: Sandbox, github: GitHub, commits: int
) -> None:
    inner_repository(sandbox, worktree(sandbox) / "sub" / "lib", commits)
    (worktree(sandbox) / "rest").write_text("x")
    said = "the files of 'sub/lib', a repository of its own" if commits else "'sub/lib/' does not have a commit"
    assert sandbox.session(NAME)["changes"]["left_out"] == 1
    assert "(1 left out)" in sandbox.chatml("ls").out
    assert f"left out: {said}" in sandbox.chatml("diff", NAME).err
    failed = sandbox.chatml("pr", NAME, "--commit", "All", code=1)
    fails(failed, f"not all of '{NAME}' can be published", said, f"chatml pr {NAME} --force")
    assert github.tip("octo/app", BRANCH) is None
    # Neither hint takes back what was said already.
    fails(
        sandbox.chatml("pr", NAME, "--commit", "All of it", "--title", "A b", "--base", "main", code=1),
        f"chatml pr {NAME} --force --title 'A b' --base main --commit 'All of it'",
    )
    assert f"'chatml pr {NAME} --commit MESSAGE --force'" in sandbox.chatml("pr", NAME, "--force", code=1).err

    done = sandbox.chatml("pr", NAME, "--commit", "All", "--force")
    assert f"left out: {said}" in done.err
    assert published(sandbox, github).split() == ["README.md", "one", "rest", "two"]
    assert (worktree(sandbox) / "sub" / "lib" / "file").read_text() == "inner\n"
    sandbox.chatml("pr", NAME, "--force")  # what was left out is no uncommitted work


def test_a_repository_inside_that_the_agent_has_committed(sandbox: Sandbox, github: GitHub) -> None:
    inner_repository(sandbox, worktree(sandbox) / "lib", 1)
    commit_more(sandbox, "Vendor lib")
    fails(sandbox.chatml("pr", NAME, code=1), "the files of 'lib', a repository of its own")
    shutil.rmtree(worktree(sandbox))
    fails(sandbox.chatml("pr", NAME, code=1), "the files of 'lib', a repository of its own")
    assert github.tip("octo/app", BRANCH) is None
    assert "left out: the files of 'lib'" in sandbox.chatml("pr", NAME, "--force").err


def test_a_submodule_whose_work_is_nowhere_else(sandbox: Sandbox, github: GitHub) -> None:
    theirs, path = sandbox.home / "theirs", worktree(sandbox)
    inner_repository(sandbox, theirs, 1)
    sandbox.git("config", "receive.denyCurrentBranch", "ignore", cwd=theirs)
    sandbox.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(theirs), "lib", cwd=path)
    commit_more(sandbox, "Use lib")
    (path / "lib" / "file").write_text("better\n")
    fails(sandbox.chatml("pr", NAME, code=1), "what is not committed in the submodule 'lib'")
    sandbox.git("commit", "-qam", "better", cwd=path / "lib")
    commit_more(sandbox, "Use a better lib")
    fails(sandbox.chatml("pr", NAME, code=1), "the commits of the submodule 'lib' that none of its remotes has")
    assert github.tip("octo/app", BRANCH) is None
    sandbox.git("push", "-q", "origin", "HEAD", cwd=path / "lib")
    sandbox.chatml("pr", NAME)
    assert github.tip("octo/app", BRANCH)


def test_a_conflict_is_not_committed_away(sandbox: Sandbox, github: GitHub) -> None:
    path = worktree(sandbox)
    sandbox.git("checkout", "-q", "-b", "other", "main")
    sandbox.commit("other", one="different")
    sandbox.git("merge", "other", cwd=path, check=False)
    fails(sandbox.chatml("pr", NAME, "--commit", "All", code=1), "conflicts")
    sandbox.git("merge", "--abort", cwd=path)
    sandbox.git("checkout", "-q", "--detach", cwd=path)
    fails(sandbox.chatml("pr", NAME, code=1), f"no branch, not on {BRANCH}")
    assert github.pulls == []


def test_no_commits(sandbox: Sandbox, github: GitHub) -> None:
    sandbox.git("reset", "-q", "--hard", "main", cwd=worktree(sandbox))
    fails(sandbox.chatml("pr", NAME, code=1), f"'{NAME}' has no commits that main does not have")
    assert github.tip("octo/app", BRANCH) is None


def test_branch_deleted_and_worktree_gone(sandbox: Sandbox, github: GitHub) -> None:
    shutil.rmtree(worktree(sandbox))
    tip = sandbox.git("rev-parse", BRANCH)
    fails(sandbox.chatml("pr", NAME, "--commit", "x", code=1), "nothing to commit")
    sandbox.git("worktree", "prune")
    sandbox.git("branch", "-q", "-D", BRANCH)
    fails(sandbox.chatml("pr", NAME, code=1), f"the branch of '{NAME}' is gone", f"git branch {BRANCH}")
    sandbox.git("branch", BRANCH, tip)
    sandbox.chatml("pr", NAME)
    assert github.tip("octo/app", BRANCH) == tip


def test_a_renamed_branch_is_followed(sandbox: Sandbox, github: GitHub) -> None:
    sandbox.chatml("pr", NAME)
    sandbox.git("branch", "-m", BRANCH, "first-name")
    sandbox.git("branch", "-m", "limit-rates", cwd=worktree(sandbox))
    assert sandbox.chatml("diff", NAME).err == ""
    assert sandbox.session(NAME)["branch"] == "limit-rates"
    assert sandbox.chatml("pr", NAME).err == "pushed limit-rates to origin\nopened #2\n"
    assert github.tip("octo/app", "limit-rates") == sandbox.git("rev-parse", "limit-rates")


def test_a_renamed_branch_without_its_worktree(sandbox: Sandbox, github: GitHub) -> None:
    sandbox.git("branch", "-m", BRANCH, "limit-rates")
    shutil.rmtree(worktree(sandbox))
    sandbox.chatml("pr", NAME)
    assert github.tip("octo/app", "limit-rates")


def test_a_branch_that_gave_way_to_another(sandbox: Sandbox, github: GitHub) -> None:
    """Nothing tells that the other one is the session's: the person does, as the hint says."""
    sandbox.git("switch", "-q", "-c", "other", cwd=worktree(sandbox))
    sandbox.git("branch", "-q", "-D", BRANCH)
    failed = sandbox.chatml("pr", NAME, code=1)
    fails(failed, f"the branch of '{NAME}' is gone", "its worktree is on other")
    sandbox.git(*shlex.split(failed.err.rpartition(": git ")[2]))
    sandbox.chatml("pr", NAME)
    assert github.tip("octo/app", BRANCH) == sandbox.git("rev-parse", "other")


@pytest.mark.usefixtures("github")
def test_a_repository_that_was_moved(sandbox: Sandbox) -> None:
    moved = sandbox.repo.parent / "else where"
    moved.mkdir()
    for name in ("app", "app.chatml"):
        (sandbox.repo.parent / name).rename(moved / name)
    assert sandbox.chatml("pr", NAME, cwd=moved / "app").out.endswith("/pull/1\n")
    (moved / "app.chatml" / NAME / "new").write_text("x")
    fails(sandbox.chatml("pr", NAME, cwd=moved / "app", code=1), "uncommitted")


def test_an_amended_commit_replaces_only_our_own_push(sandbox: Sandbox, github: GitHub) -> None:
    sandbox.chatml("pr", NAME, "--force-with-lease")  # there is nothing to replace
    amended = commit_more(sandbox, "Add two, better", "--amend")
    fails(sandbox.chatml("pr", NAME, code=1), f"chatml pr {NAME} --force-with-lease")
    sandbox.chatml("pr", NAME, "--force-with-lease")
    assert github.tip("octo/app", BRANCH) == amended

    theirs = sandbox.git("commit-tree", "-p", amended, "-m", "by a colleague", f"{amended}^{{tree}}")
    sandbox.git("push", "-q", str(sandbox.repo.parent / "octo.git"), f"{theirs}:refs/heads/{BRANCH}")
    commit_more(sandbox, "Add two, best", "--amend")
    fails(sandbox.chatml("pr", NAME, "--force-with-lease", code=1), "somebody else has pushed")
    assert github.tip("octo/app", BRANCH) == theirs


def test_what_a_hook_leaves_running_is_not_waited_for(sandbox: Sandbox, github: GitHub) -> None:
    del github
    hook = sandbox.repo / ".git/hooks/pre-push"
    hook.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {sandbox.home}/pid\n")
    hook.chmod(0o755)
    sandbox.chatml("pr", NAME)
    os.kill(int((sandbox.home / "pid").read_text()), signal.SIGKILL)
    wait_until(lambda: not marked_processes(sandbox.home), "what listened to it to end")


def test_untracked_work_counts_though_the_settings_hide_it(sandbox: Sandbox, github: GitHub) -> None:
    del github
    sandbox.git("config", "--global", "status.showUntrackedFiles", "no")
    (worktree(sandbox) / "new file").write_text("x")
    assert "has uncommitted work" in sandbox.chatml("pr", NAME, code=1).err
    sandbox.chatml("pr", NAME, "--commit", "the rest")
    assert "new file" in sandbox.git("ls-tree", "--name-only", BRANCH)


def colleague(sandbox: Sandbox, parent: str) -> None:
    """Somebody else pushes a commit to the session's branch."""
    (sandbox.repo / "theirs").write_text("theirs")
    sandbox.git("read-tree", parent)
    sandbox.git("update-index", "--add", "theirs")
    made = sandbox.git("commit-tree", "-p", parent, "-m", "by a colleague", sandbox.git("write-tree"))
    sandbox.git("push", "-qf", str(sandbox.repo.parent / "octo.git"), f"{made}:refs/heads/{BRANCH}")


def _rewritten(sandbox: Sandbox) -> None:
    sandbox.chatml("pr", NAME)
    commit_more(sandbox, "Add two, better", "--amend")


def _pushed_over(sandbox: Sandbox) -> None:
    sandbox.chatml("pr", NAME)
    colleague(sandbox, sandbox.git("rev-parse", BRANCH))
    commit_more(sandbox, "Add three")


def _without_branch(sandbox: Sandbox) -> None:
    shutil.rmtree(worktree(sandbox))
    sandbox.chatml("pr", NAME)
    sandbox.git("worktree", "prune")
    sandbox.git("branch", "-q", "-D", BRANCH)


HINTS: dict[str, tuple[Callable[[Sandbox], object], str, str]] = {
    "other history there, taken in": (lambda sandbox: colleague(sandbox, "main"), "git -C {at} pull", ""),
    "other history there, left alone": (lambda sandbox: colleague(sandbox, "main"), "git -C {at} branch -m", ""),
    "rewritten": (_rewritten, f"chatml pr {NAME} --force-with-lease", ""),
    "a colleague's push": (_pushed_over, "git -C {at} pull", ""),
    "a colleague's push, not to be replaced": (_pushed_over, "git -C {at} pull", "--force-with-lease"),
    "a colleague's push, to be looked at": (_pushed_over, "git fetch", "--force-with-lease"),
    "uncommitted work": (
        lambda sandbox: (worktree(sandbox) / "new").write_text("x"), f"chatml pr {NAME} --commit MESSAGE", "",
    ),
    "on no branch": (
        lambda sandbox: sandbox.git("checkout", "-q", "--detach", cwd=worktree(sandbox)), "git -C {at} switch", "",
    ),
    "without a branch": (_without_branch, f"git branch {BRANCH}", ""),
    "without a remote": (lambda sandbox: sandbox.git("remote", "remove", "origin"), "git remote add origin", ""),
}  # fmt: skip


@pytest.mark.parametrize("case", HINTS)
def test_a_hint_works_when_it_is_followed(sandbox: Sandbox, github: GitHub, case: str) -> None:
    provoke, command, option = HINTS[case]
    provoke(sandbox)
    failed = sandbox.chatml("pr", NAME, *option.split(), code=1)
    real = f"url.{sandbox.repo.parent / 'octo.git'}.insteadOf"
    if command.startswith("git"):  # it may fetch; gh must still see where the remote is
        sandbox.git("config", real, ORIGIN)
    follow(sandbox, failed, command.format(at=worktree(sandbox)))
    sandbox.git("config", "--unset", real, check=False)
    if "remote" in command:
        sandbox.git("remote", "set-url", "origin", ORIGIN)  # the test's own address for URL leads nowhere
    if command != "git fetch":  # that only shows
        sandbox.chatml("pr", NAME)
        assert len(github.pulls) == 1


def test_refused_by_hooks(sandbox: Sandbox, github: GitHub) -> None:
    ours, theirs = sandbox.repo / ".git/hooks/pre-push", sandbox.repo.parent / "octo.git/hooks/pre-receive"
    for hook in (ours, theirs):
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\npwd\necho 'error: GH006: Protected branch'\nexit 1\n")
        hook.chmod(0o755)
    fails(sandbox.chatml("pr", NAME, code=1), f"the pre-push hook refused the push: {worktree(sandbox)}")
    ours.unlink()
    fails(sandbox.chatml("pr", NAME, code=1), "origin refused the push", "GH006: Protected branch")
    assert github.pulls == []
    theirs.unlink()
    assert sandbox.chatml("pr", NAME).out


def test_a_remote_that_is_not_there(sandbox: Sandbox, github: GitHub) -> None:
    (sandbox.repo.parent / "octo.git").rename(sandbox.repo.parent / "away.git")
    github.repositories["octo/app"] = sandbox.repo.parent / "away.git"
    fails(sandbox.chatml("pr", NAME, code=1), "could not push to origin", "git ls-remote origin")


def test_choice_of_remote(sandbox: Sandbox, github: GitHub) -> None:
    url = "http://github.localhost/me/app.git"
    sandbox.git("remote", "rename", "origin", "upstream")
    sandbox.git("remote", "add", "fork", url)
    fails(sandbox.chatml("pr", NAME, code=1), "which remote? there are fork, upstream", "--remote")
    fails(sandbox.chatml("pr", NAME, "--remote", "frok", code=1), "did you mean 'fork'?")
    sandbox.git("config", "remote.pushDefault", "fork")
    sandbox.chatml("pr", NAME)
    [pull] = github.pulls
    assert (pull.repo, pull.owner) == ("octo/app", "me")
    assert github.tip("me/app", BRANCH)
    assert github.tip("octo/app", BRANCH) is None
    assert sandbox.chatml("pr", NAME, "--json").json["created"] is False

    sandbox.git("remote", "add", "backup", str(sandbox.repo.parent / "me.git"))
    fails(sandbox.chatml("pr", NAME, "--remote", "backup", code=1), "remote 'backup'", "is no repository on GitHub")
    for name in ("upstream", "fork", "backup"):
        sandbox.git("remote", "remove", name)
    fails(sandbox.chatml("pr", NAME, code=1), "no remote to push to", "git remote add origin")


OWN = f"branch.{BRANCH}"
PLACES: dict[str, tuple[tuple[str, ...], str, str]] = {
    "made by gh pr checkout": (
        (f"{OWN}.remote {FORK}", f"{OWN}.pushRemote {FORK}", f"{OWN}.merge refs/heads/{BRANCH}"), "me/app", BRANCH,
    ),
    "an address, another name": (
        (f"{OWN}.remote {FORK}", f"{OWN}.merge refs/heads/patch-1", "push.default upstream"), "me/app", "patch-1",
    ),
    "the old word for it": (
        (f"{OWN}.remote fork", f"{OWN}.merge refs/heads/patch-1", "push.default tracking"), "me/app", "patch-1",
    ),
    "fetched from one, pushed to another": (
        (f"{OWN}.remote origin", f"{OWN}.merge refs/heads/main", "remote.pushDefault fork"), "me/app", BRANCH,
    ),
    "the branch over all branches": (("remote.pushDefault origin", f"{OWN}.pushRemote fork", "push.default current"),
                                     "me/app", BRANCH),
    "a place for all branches": (("remote.origin.push refs/heads/*:refs/heads/ada/*",), "octo/app", f"ada/{BRANCH}"),
    "a place on a fork": (
        ("remote.fork.push +refs/heads/chatml/*:refs/heads/x/*", f"{OWN}.remote fork"), "me/app", "x/limit",
    ),
    "what is checked out": (("remote.origin.push HEAD",), "octo/app", BRANCH),
    "another name, pushed by its own": (
        (f"{OWN}.remote origin", f"{OWN}.merge refs/heads/patch-1", "push.default current"), "octo/app", BRANCH,
    ),
}  # fmt: skip
"""Settings of git by what they are about; and the repository and branch where the pull request comes from."""


@pytest.mark.parametrize("case", thinned(PLACES, 3))
def test_goes_where_git_push_would(sandbox: Sandbox, github: GitHub, case: str) -> None:
    settings, repo, branch = PLACES[case]
    sandbox.git("remote", "add", "fork", FORK)
    real = sandbox.repo.parent / f"{repo.split('/')[0]}.git"
    sandbox.git("--git-dir", str(real), "branch", BRANCH, "main")  # some settings only push what is there already
    for setting in settings:
        sandbox.git("config", *setting.split(" ", 1))
    told = sandbox.git("push", "--dry-run", "--porcelain", cwd=worktree(sandbox)).splitlines()
    assert told[0] == f"To {real}"
    assert [line.split("\t")[1].split(":")[1] for line in told if BRANCH in line] == [f"refs/heads/{branch}"]

    for _ in range(2):  # it is found there again
        sandbox.chatml("pr", NAME)
        [pull] = github.pulls
        assert (pull.repo, pull.owner, pull.head) == ("octo/app", repo.split("/")[0], branch)
    assert github.tip(repo, branch) == sandbox.git("rev-parse", BRANCH)


UNCLEAR: dict[str, tuple[tuple[str, ...], str, str]] = {
    "another name": (
        (f"{OWN}.remote origin", f"{OWN}.merge refs/heads/patch-1"), "git does not tell where", f"octo/app {BRANCH}",
    ),
    "another name on a fork": (
        (f"{OWN}.remote {FORK}", f"{OWN}.merge refs/heads/main"), "git does not tell where", "me/app main",
    ),
    "somebody's pull request": (
        (f"{OWN}.remote origin", f"{OWN}.merge refs/pull/7/head"), "pull request #7 of octo/app", f"octo/app {BRANCH}",
    ),
    "left out": (("remote.origin.push refs/heads/main",), "leaves chatml/limit out", f"octo/app {BRANCH}"),
    "no such remote": (("remote.pushDefault frok",), "neither a remote nor an address", f"me/app {BRANCH}"),
    "only for review": (
        ("remote.origin.push refs/heads/*:refs/for/*",), "sends chatml/limit to refs/for/", f"me/app {BRANCH}",
    ),
    "two places": (
        (f"remote.origin.pushurl {ORIGIN}", f"--add remote.origin.pushurl {FORK}"), "several", f"me/app {BRANCH}",
    ),
}  # fmt: skip
FOLLOWED = {
    "another name on a fork": ("git config push.default upstream",),
    "no such remote": ("git config remote.pushDefault fork",),
    "only for review": (f"chatml pr {NAME} --remote fork",),
    "two places": (f"chatml pr {NAME} --remote fork",),
}
"""How a hint is followed that leaves a choice; any other names one command."""


@pytest.mark.parametrize("case", thinned(UNCLEAR, 3))
def test_where_git_does_not_tell(sandbox: Sandbox, github: GitHub, case: str) -> None:
    settings, said, place = UNCLEAR[case]
    sandbox.git("remote", "add", "fork", FORK)
    for setting in settings:
        sandbox.git("config", *setting.split())
    failed = sandbox.chatml("pr", NAME, code=1)
    fails(failed, said)
    assert github.pulls == []
    assert not [one for one in ("octo/app", "me/app") if github.tip(one, BRANCH)], "nothing was pushed"

    again = ["pr", NAME]
    [command] = FOLLOWED.get(case) or re.findall(r"git (?:config|branch) [^;]*", failed.err.split("own name:")[-1])
    if command.startswith("git"):
        sandbox.git(*shlex.split(command)[1:])
    else:
        again = shlex.split(command)[1:]
    sandbox.chatml(*again)
    repo, branch = place.split()
    assert [(pull.owner, pull.head) for pull in github.pulls] == [(repo.split("/")[0], branch)]
    assert github.tip(repo, branch) == sandbox.git("rev-parse", BRANCH)


def test_a_pull_request_is_found_among_many_of_that_name(sandbox: Sandbox, github: GitHub) -> None:
    sandbox.chatml("pr", NAME)
    for number in range(2, 60):
        github.pulls.append(replace(github.pulls[0], number=number, owner=f"stranger-{number}", commit="0" * 40))
    assert sandbox.chatml("pr", NAME, "--json").json["number"] == 1


def test_a_branch_that_tracks_its_base(sandbox: Sandbox, github: GitHub) -> None:
    """`git checkout -b fix origin/main` makes one; with push.default=upstream, `git push` would land it at once."""
    main = github.tip("octo/app", "main")
    sandbox.git("config", f"{OWN}.remote", "origin")
    sandbox.git("config", f"{OWN}.merge", "refs/heads/main")
    for default in ("simple", "upstream"):
        sandbox.git("config", "push.default", default)
        sandbox.chatml("pr", NAME)
    assert [pull.head for pull in github.pulls] == [BRANCH]

    sandbox.git("config", "remote.origin.push", f"refs/heads/{BRANCH}:refs/heads/main")
    github.pulls.clear()
    fails(sandbox.chatml("pr", NAME, code=1), "would be pushed to main, the very branch", "--base BRANCH")
    assert github.tip("octo/app", "main") == main


ALIASES = (
    FORK,
    "ssh://git@ssh.github.localhost:443/me/app.git",
    "work:me/app.git",  # by ssh's own name for the host
    "git@github.localhost:me/app",
)


@pytest.mark.parametrize("address", ALIASES)
def test_names_of_the_same_repository(sandbox: Sandbox, github: GitHub, address: str) -> None:
    tools = sandbox.home / "tools"
    tools.mkdir()
    (tools / "ssh").write_text("#!/bin/sh\necho user git\necho hostname github.localhost\n")  # reads no sealed settings
    (tools / "ssh").chmod(0o755)
    sandbox.env["PATH"] = f"{tools}:{sandbox.env['PATH']}"
    sandbox.git("config", "remote.origin.pushurl", address)
    sandbox.git("config", f"url.{sandbox.repo.parent / 'me.git'}.insteadOf", address)
    sandbox.chatml("pr", NAME)
    assert [(pull.repo, pull.owner) for pull in github.pulls] == [("octo/app", "me")]
    assert github.tip("me/app", BRANCH)


def test_a_short_word_for_an_address(sandbox: Sandbox, github: GitHub) -> None:
    sandbox.git("config", "url.http://github.localhost/.insteadOf", "hub:")
    sandbox.git("config", "remote.pushDefault", "hub:me/app.git")
    fails(sandbox.chatml("pr", NAME, code=1), "could not push to hub:me/app.git")  # there is no server behind it here
    assert github.asked.count("RepositoryInfo") == 2, "gh has found both repositories"


@pytest.mark.usefixtures("github")
def test_a_password_in_an_address_is_not_shown(sandbox: Sandbox) -> None:
    secret = FORK.replace("//", "//me:secret@")
    sandbox.git("config", f"url.{sandbox.repo.parent / 'me.git'}.pushInsteadOf", secret)
    sandbox.git("config", "remote.pushDefault", secret)
    assert f"pushed {BRANCH} to {FORK}\n" in sandbox.chatml("pr", NAME).err
    sandbox.git("config", "remote.pushDefault", secret.replace("/me/app", "/nobody/app"))
    failed = sandbox.chatml("pr", NAME, code=1)
    fails(failed, "/nobody/app")
    assert "secret" not in failed.err


def test_only_this_branch_is_published(sandbox: Sandbox, github: GitHub) -> None:
    sandbox.git("tag", "-a", "v1", "-m", "one", BRANCH)
    for setting in ("push.followTags true", "submodule.recurse true", "push.recurseSubmodules only",
                    "remote.origin.mirror true"):  # fmt: skip
        sandbox.git("config", *setting.split())
    sandbox.git("branch", "aside")
    sandbox.chatml("pr", NAME)
    there = sandbox.git("--git-dir", str(github.repositories["octo/app"]), "for-each-ref", "--format=%(refname)")
    assert there.split() == [f"refs/heads/{BRANCH}", "refs/heads/main"]


LINKS: dict[str, tuple[str, str, bool]] = {
    "in the repository": (".github/pull_request_template.md", "../notes/shared.md", True),
    "through a folder": ("docs/pull_request_template.md", "../linked/shared.md", True),
    "outside": (".github/pull_request_template.md", "../../../home/secret", False),
    "by a whole path": ("pull_request_template.md", "/etc/passwd", False),
    "to itself": ("pull_request_template.md", "pull_request_template.md", False),
    "to nothing": ("pull_request_template.md", "notes/gone.md", False),
    "to a folder": ("pull_request_template.md", "notes", False),
}


@pytest.mark.long
@pytest.mark.parametrize("case", LINKS)
def test_a_template_that_is_a_link(sandbox: Sandbox, github: GitHub, case: str) -> None:
    name, target, followed = LINKS[case]
    path = worktree(sandbox)
    (sandbox.home / "secret").write_text("SECRET")
    (path / "notes").mkdir()
    (path / "notes" / "shared.md").write_text("- [ ] shared")
    (path / "linked").symlink_to("notes")
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).symlink_to(target)
    sandbox.chatml("pr", NAME, "--commit", "All")
    body = f"{ANSWER}\n\n- Add one\n- Add two\n- All"
    assert github.pulls[0].body == (f"{body}\n\n- [ ] shared" if followed else body)


def test_a_remote_elsewhere(sandbox: Sandbox, github: GitHub) -> None:
    sandbox.git("remote", "set-url", "origin", "https://code.example.com/octo/app.git")
    fails(sandbox.chatml("pr", NAME, code=1), "none of this repository's remotes is on a GitHub")
    assert github.asked == []


FAILURES: dict[str, tuple[Failure, str, str]] = {
    "bad token": (Failure("Bad credentials", 401), "does not accept gh's login: HTTP 401", "gh auth login"),
    "no access": (Failure("Could not resolve to a Repository"), "no such repository", "gh auth status"),
    "forbidden": (Failure("Resource not accessible by integration"), "may not do that", "token"),
    "trouble": (Failure("Bad gateway", 502), "a problem of its own: HTTP 502", "githubstatus"),
    "rate limit": (Failure("API rate limit exceeded", 403), "rate limit for this login is used up", "rate_limit"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_what_github_refuses(sandbox: Sandbox, github: GitHub, case: str) -> None:
    failure, meaning, hint = FAILURES[case]
    github.failures["RepositoryInfo"] = failure
    fails(sandbox.chatml("pr", NAME, code=1), meaning, hint)
    assert github.tip("octo/app", BRANCH) is None, "nothing is pushed before that is settled"


def test_checks_that_may_not_be_read_are_no_failure(sandbox: Sandbox, github: GitHub) -> None:
    sandbox.chatml("pr", NAME)
    github.failures["PullRequestByNumberChecks"] = Failure("Resource not accessible by personal access token")
    assert sandbox.chatml("pr", NAME, "--json").json["checks"] is None
    assert "PullRequestByNumberChecks" not in github.failures


def test_no_network_no_login_no_gh_old_gh(sandbox: Sandbox, github: GitHub) -> None:
    unreachable = {"http_proxy": "http://127.0.0.1:9"}
    fails(sandbox.chatml("pr", NAME, code=1, env=unreachable), "GitHub could not be reached", "connection refused")
    strangers = {"GH_HOST": "", "GH_TOKEN": ""}
    fails(sandbox.chatml("pr", NAME, code=1, env=strangers), "gh is not logged in", "gh auth login")

    tools = sandbox.home / "tools"
    tools.mkdir()
    for name in ("git", "sh"):
        (tools / name).symlink_to(str(shutil.which(name)))
    fails(sandbox.chatml("pr", NAME, code=1, env={"PATH": str(tools)}), "gh, which talks", "https://cli.github.com")
    # No such old gh can be installed here; this is what it says.
    (tools / "gh").write_text("#!/bin/sh\necho 'unknown flag: --json' >&2\nexit 1\n")
    (tools / "gh").chmod(0o755)
    fails(sandbox.chatml("pr", NAME, code=1, env={"PATH": str(tools)}), "too old: unknown flag", "2.0 or later")
    assert github.tip("octo/app", BRANCH) is None


def test_web(sandbox: Sandbox, github: GitHub) -> None:
    seen = sandbox.home / "seen"
    browser = sandbox.home / "browser"
    browser.write_text(f"#!/bin/sh\necho \"$1\" > '{seen}'\n")
    browser.chmod(0o755)
    opened = sandbox.chatml("pr", NAME, "-q", "--web", env={"BROWSER": str(browser)})
    assert seen.read_text() == opened.out == f"{github.url('octo/app', 1)}\n"
    none = sandbox.chatml("pr", NAME, "-q", "--web", env={"BROWSER": "/nowhere"}, code=1)
    assert none.out == opened.out
    assert none.err.startswith("error: no browser could be opened: ")


def test_while_the_agent_is_at_work(sandbox: Sandbox, github: GitHub) -> None:
    script: dict[str, Any] = {"*": {"turns": [["first"], [{"Bash": {"command": "touch open"}}, [{"hold": "on"}]]]}}
    with ScriptedApi(script) as api:
        sandbox.env["ANTHROPIC_BASE_URL"] = api.url
        sandbox.chatml("send", NAME, "go on", env={"http_proxy": ""})
        try:
            wait_until((worktree(sandbox) / "open").exists, "the agent to write")
            fails(sandbox.chatml("pr", NAME, "--commit", "x", code=1), "is at work", f"chatml wait {NAME}")
            opened = sandbox.chatml("pr", NAME)
        finally:
            sandbox.chatml("stop", NAME, "-q")
    assert opened.err.startswith("the agent is still at work, and what is not committed yet is left out")
    assert github.tip("octo/app", BRANCH) == sandbox.git("rev-parse", BRANCH)
    assert sandbox.session(NAME)["pr"]["number"] == 1, "the worker keeps what it did not write"
    wait_until(lambda: not marked_processes(sandbox.home), "the worker to end")


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], None),
        ([{"state": "SUCCESS"}, {"status": "COMPLETED", "conclusion": "SKIPPED"}], "passing"),
        ([{"state": "SUCCESS"}, {"status": "IN_PROGRESS", "conclusion": ""}], "pending"),
        ([{"state": "EXPECTED"}, {"status": "COMPLETED", "conclusion": "TIMED_OUT"}], "failing"),
    ],
)
def test_checks_in_one_word(states: list[dict[str, str]], expected: str | None) -> None:
    assert verdict(states) == expected
