"""Merge requests of GitLab by the commands for pull requests: the real glab against a scripted GitLab."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatml.forge.discussions import of_trace
from chatml.forge.door import PullRef
from chatml.forge.gitlab import verdict
from tests.conftest import GITCONFIG
from tests.gitlab import HOST, GitLab, Merge, Refusal
from tests.support import Sandbox, init_repository, marked_processes, needs, sealed_env, wait_until
from tests.test_pulls import AGENT, aged, cell, fails, heard, ours, settled

pytestmark = needs("glab")

APP, FORK = "group/sub/app", "me/app"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in a group of a group, as `origin`, and sessions at rest; never worked in."""
    top = tmp_path_factory.mktemp("gitlab")
    root = top / "live"
    home, app = root / "home", root / "app"
    settings = home / ".config" / "chatml" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text(AGENT)
    (home / ".gitconfig").write_text(GITCONFIG)
    sandbox = Sandbox(home, app, sealed_env(home))
    init_repository(app, sandbox.env)
    template = app / ".gitlab" / "merge_request_templates" / "Default.md"
    template.parent.mkdir(parents=True)
    template.write_text("- [ ] tests\n")
    sandbox.git("add", "-A")
    sandbox.git("commit", "-qm", "Add a template")
    for name, bare in {APP: root / "app.git", FORK: root / "fork.git"}.items():
        sandbox.git("clone", "-q", "--bare", str(app), str(bare))
        sandbox.git("config", f"url.{bare}.insteadOf", f"http://{HOST}/{name}.git")
    sandbox.git("remote", "add", "origin", f"http://{HOST}/{APP}.git")
    for name in ("one", "two", "three"):
        sandbox.chatml("new", "--name", name, "-q", "--wait", f"task of {name}")
    wait_until(lambda: not marked_processes(home), "the workers to end")
    root.rename(top / "pristine")
    return top / "pristine"


@pytest.fixture
def sandbox(pristine: Path) -> Iterator[Sandbox]:
    """The sessions as they were made, at the same place."""
    root = pristine.with_name("live")
    shutil.copytree(pristine, root, symlinks=True)
    yield Sandbox(root / "home", root / "app", sealed_env(root / "home"))
    assert not marked_processes(root / "home")
    shutil.rmtree(root)


@pytest.fixture
def gitlab(sandbox: Sandbox) -> Iterator[GitLab]:
    root = sandbox.repo.parent
    served = GitLab({APP: root / "app.git", FORK: root / "fork.git"}, sandbox.home / "glab")
    sandbox.env.update(served.env)
    yield served
    wait_until(lambda: not marked_processes(sandbox.home), "all processes to end")
    served.close()


def opened(sandbox: Sandbox, *names: str) -> None:
    """Their merge requests are open."""
    for name in names:
        sandbox.chatml("pr", name, "-q")


# --- opened -----------------------------------------------------------------------------------------------------


def test_opens_a_merge_request_and_finds_it_again(sandbox: Sandbox, gitlab: GitLab) -> None:
    done = sandbox.chatml("pr", "one", "--draft")
    assert (done.out, done.err) == (gitlab.url(APP, 1) + "\n", "pushed chatml/one to origin\nopened !1\n")
    (merge,) = gitlab.merges
    assert (merge.source, merge.target, merge.head, merge.base) == (APP, APP, "chatml/one", "main")
    assert (merge.title, merge.body) == ("Draft: Add said", "Ready\n\n- [ ] tests")
    assert sandbox.session("one")["pr"] | {"at": ""} == {
        "number": 1, "url": gitlab.url(APP, 1), "state": "open", "checks": None, "draft": True, "review": None,
        "mergeable": None, "at": "",
    }  # fmt: skip

    merge.pipeline = {"status": "success"}
    (Path(sandbox.session("one")["worktree"]) / "more").touch()
    gitlab.git(APP, "branch", "release", "main")
    again = sandbox.chatml("pr", "one", "--commit", "More", "--title", "Say it", "--base", "release", "--json")
    assert again.err.endswith("pushed chatml/one to origin\nupdated title and base of !1\n")
    assert again.json | {"at": ""} == sandbox.session("one")["pr"] | {"created": False, "at": ""}
    assert again.json["checks"] == "passing"
    assert (merge.title, merge.base) == ("Draft: Say it", "release"), "a draft stays one"
    assert gitlab.tip(APP, "chatml/one") == sandbox.git("rev-parse", "chatml/one")
    merge.pipeline = {"status": "failed", "sha": "0" * 40}
    unknown = sandbox.chatml("pr", "one", "--json", "-q", "--body", "It does.").json
    assert (unknown["checks"], merge.body) == (None, "It does."), "the pipeline of another commit tells nothing"
    merge.state = "merged"
    assert "!1 is merged, and nothing new came since" in sandbox.chatml("pr", "one").err


@pytest.mark.long
def test_from_a_fork_into_the_project_that_it_is_of(sandbox: Sandbox, gitlab: GitLab) -> None:
    """The same branch of another fork is none of ours."""
    sandbox.git("remote", "rename", "origin", "upstream")
    sandbox.git("remote", "add", "origin", f"git@{HOST}:{FORK}.git")
    sandbox.git("config", f"url.{gitlab.projects[FORK]}.insteadOf", f"git@{HOST}:{FORK}.git")
    gitlab.merges.append(Merge(1, APP, APP, "chatml/one", "main", "Another's", "", commit="0" * 40))
    assert sandbox.chatml("pr", "one").out == gitlab.url(APP, 2) + "\n"
    merge = gitlab.merges[1]
    assert (merge.source, merge.target, gitlab.tip(APP, "chatml/one")) == (FORK, APP, None)
    assert "!2 is open already" in sandbox.chatml("pr", "one").err
    sandbox.git("config", "remote.origin.glab-resolved", "base")
    assert sandbox.chatml("pr", "one").out == gitlab.url(FORK, 3) + "\n"


@pytest.mark.parametrize("known", ["named", "logged in"])
def test_a_gitlab_by_another_name(sandbox: Sandbox, gitlab: GitLab, known: str) -> None:
    sandbox.git("remote", "set-url", "origin", f"http://code.example/{APP}.git")
    sandbox.git("config", f"url.{gitlab.projects[APP]}.insteadOf", f"http://code.example/{APP}.git")
    gitlab.log_in("code.example", token="token" if known == "logged in" else None)
    if known == "named":
        assert "gh" in fails(sandbox, "pr", "one"), "until it is known it is a GitHub, as ever"
        sandbox.env["GITLAB_HOST"] = "https://code.example"
    else:
        del sandbox.env["GITLAB_TOKEN"]
    assert "opened !1" in sandbox.chatml("pr", "one").err


# --- seen -------------------------------------------------------------------------------------------------------


def test_what_becomes_of_them_is_in_ls_show_and_json(sandbox: Sandbox, gitlab: GitLab) -> None:
    """All of a project by one question, which nobody waits for; offline shows what was last known."""
    opened(sandbox, "one", "two", "three")
    one, two, three = gitlab.merges
    one.pipeline, one.approved_by = {"status": "success"}, ["ada"]
    two.pipeline, two.title, two.status = {"status": "failed"}, "Draft: x", "CONFLICT"
    two.reviewers = ["REVIEWED", "REQUESTED_CHANGES"]
    three.pipeline, three.status = {"status": "running"}, "NOT_APPROVED"
    gitlab.asked.clear()
    aged(sandbox, 90, "one", "two", "three")
    sandbox.chatml("ls")
    settled(sandbox)
    assert gitlab.asked == ["MergeStates"]
    seen = {session["name"]: session["pr"] for session in sandbox.chatml("ls", "--json").json}
    keys = ("state", "checks", "draft", "review", "mergeable")
    assert [seen["one"][key] for key in keys] == ["open", "passing", False, "approved", True]
    assert [seen["two"][key] for key in keys] == ["open", "failing", True, "changes_requested", False]
    assert [seen["three"][key] for key in keys] == ["open", "pending", False, "review_required", True]
    assert cell(sandbox, "two") == "!2 ✗ draft changes asked conflicts"
    page = sandbox.chatml("show", "two").out
    assert f"{gitlab.url(APP, 2)} open, checks failing, draft, changes asked, conflicts\n" in page
    one.status, two.state = "CHECKING", "merged"
    aged(sandbox, 7300, "one", "two", "three")
    sandbox.chatml("ls")
    settled(sandbox)
    assert sandbox.session("one")["pr"]["mergeable"] is None
    assert (cell(sandbox, "two"), sandbox.written("two")["pr"]["state"]) == ("!2 merged", "merged")
    aged(sandbox, 7300, "one", "two", "three")
    gitlab.log_in(offline=True)
    sandbox.chatml("ls")
    failed = settled(sandbox)
    assert (failed.failures, "could not be reached" in str(failed.trouble)) == (1, True)
    assert cell(sandbox, "one") == "!1 ✓ approved (2h ago)"


@pytest.mark.long
@pytest.mark.parametrize("case", ["an answer, and none left", "too often"])
def test_a_rate_limit_is_kept_to(sandbox: Sandbox, gitlab: GitLab, case: str) -> None:
    opened(sandbox, "one")
    until = int(time.time()) + 900
    if case == "too often":
        gitlab.refusals["MergeStates"] = Refusal(429, "429 Too Many Requests", {"Retry-After": "900"})
    else:
        gitlab.remaining = (0, until)
    aged(sandbox, 90, "one")
    sandbox.chatml("ls")
    assert until - 1 <= settled(sandbox).not_before <= until + 30
    gitlab.asked.clear()
    aged(sandbox, 120, "one")
    sandbox.chatml("ls")
    settled(sandbox)
    assert gitlab.asked == []
    gitlab.remaining = None


# --- merged -----------------------------------------------------------------------------------------------------


def test_merge_on_gitlab_and_nothing_here_is_touched(sandbox: Sandbox, gitlab: GitLab) -> None:
    opened(sandbox, "one", "two")
    main = sandbox.git("rev-parse", "main")
    one, two = gitlab.merges
    done = sandbox.chatml("pr", "one", "--merge", "--json")
    assert done.err == "merged !1 into main (squash)\n"
    assert (done.json["state"], done.json["commit"]) == ("merged", gitlab.tip(APP, "chatml/one"))
    assert sandbox.chatml("pr", "two", "--merge", "--no-ff").err == "merged !2 into main (merge)\n"
    assert [merge.merged_as and merge.merged_as[0] for merge in (one, two)] == ["squash", "merge"]
    assert sandbox.git("rev-parse", "main") == main
    assert sandbox.chatml("pr", "one", "--merge").err == "!1 is merged already\n"


REFUSED: dict[str, tuple[Callable[[GitLab], object], list[str], str]] = {
    "draft": (lambda gitlab: vars(gitlab.merges[0]).update(title="Draft: x"), [], "it is a draft"),
    "conflict": (lambda gitlab: vars(gitlab.merges[0]).update(status="CONFLICT"), [], "it conflicts with main"),
    "failing": (lambda gitlab: vars(gitlab.merges[0]).update(pipeline={"status": "failed"}), [], "checks are failing"),
    "unapproved": (lambda gitlab: vars(gitlab.merges[0]).update(status="NOT_APPROVED"), [], "approval of a reviewer"),
    "threads": (
        lambda gitlab: vars(gitlab.merges[0]).update(status="DISCUSSIONS_NOT_RESOLVED"), [],
        "GitLab does not merge it: 405 Method Not Allowed",
    ),
    "never squashed": (
        lambda gitlab: gitlab.settings.update(squash_option="never"), ["--squash"], "its repository allows merge",
    ),
    "fast-forward": (
        lambda gitlab: gitlab.settings.update(merge_method="ff"), ["--no-ff"], "allows squash and rebase",
    ),
    "no right": (lambda gitlab: vars(gitlab).update(may_merge=False), [], "this login may not merge !1"),
    "pushed meanwhile": (
        lambda gitlab: gitlab.refusals.update(Merge=Refusal(409, "SHA does not match HEAD of source branch")), [],
        "somebody has pushed to it just now",
    ),
}  # fmt: skip


def test_what_is_not_merged(sandbox: Sandbox, gitlab: GitLab) -> None:
    opened(sandbox, "one")
    merge, settings = dict(vars(gitlab.merges[0])), dict(gitlab.settings)
    for case, (change, options, said) in REFUSED.items():
        change(gitlab)
        assert said in fails(sandbox, "pr", "one", "--merge", *options), case
        assert gitlab.merges[0].state == "opened", case
        vars(gitlab.merges[0]).update(merge)
        gitlab.settings, gitlab.may_merge = dict(settings), True


# --- fixed and watched ------------------------------------------------------------------------------------------


def job(number: int, name: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "name": name, "stage": "test", "status": "failed", "trace": f"{name} fails", **more}


def discussion(gitlab: GitLab, *said: str, resolved: bool = False, **position: Any) -> dict[str, Any]:
    """What was said about the whole, or about a line of a file."""
    sha = gitlab.tip(APP, "chatml/one")
    about = {"head_sha": sha, "base_sha": gitlab.tip(APP, "main"), "new_line": None, "old_line": None} | position
    notes = [{"body": text, "author": {"username": "ada"}, "resolvable": True, "resolved": resolved,
              "position": about if position else None} for text in said]  # fmt: skip
    return {"notes": [*notes, {"body": "changed the line", "system": True, "resolvable": False}]}


def test_what_fails_and_what_people_say_becomes_one_message(sandbox: Sandbox, gitlab: GitLab) -> None:
    opened(sandbox, "one")
    assert "nothing to fix on !1" in sandbox.chatml("pr", "one", "--fix").err
    trace = "section_start:1:build\r\x1b[0Kbuild\n" + "".join(f"\x1b[31mline {n}\x1b[0m\n" for n in range(200))
    downstream = {"web_url": f"http://{HOST}/{APP}/-/pipelines/7"}
    gitlab.merges[0].pipeline = {
        "status": "failed",
        "jobs": [job(1, "unit", trace=trace), job(2, "lint", allow_failure=True), job(3, "fine", status="success"),
                 job(5, "gone", trace=None), *(job(number, f"more{number}") for number in range(6, 10))],
        "bridges": [job(4, "deploy", downstream_pipeline=downstream)],
    }  # fmt: skip
    gitlab.merges[0].discussions = [
        discussion(gitlab, "Why?", "Because\n> not", new_path="said", old_path="said", new_line=1),
        discussion(gitlab, "It was good", new_path="README.md", old_path="README.md", old_line=1),
        discussion(gitlab, "Old news", new_path="said", old_path="said", new_line=1, head_sha="0" * 40),
        discussion(gitlab, "Done", resolved=True, new_path="said", old_path="said", new_line=1),
        *[discussion(gitlab, "resolved", resolved=True)] * 100,
        discussion(gitlab, "And the manual?"),
    ]
    done = sandbox.chatml("pr", "one", "--fix", "--json")
    assert "sent to one, about !1: 5 failing checks, 3 unresolved comments, 1 review" in done.err
    assert done.json["fix"]["left_out"] == ["2 other failing checks (test / more8, test / more9)"]
    said = heard(sandbox, "one")
    assert f"by merge request !1 of {APP} on GitLab" in said
    assert "> test / unit\n>\n> (… 51 lines before this)\n> line 50\n" in said.replace("\n\n", "\n>\n")
    assert "> line 199\n" in said
    assert "> line 49\n" not in said
    assert f"> a pipeline of its own has failed: {downstream['web_url']}" in said
    assert "> (its log could not be had: " in said
    assert "> said:1\n> \n> task of one\n" in said.replace(">\n", "> \n")
    assert "'ada' says of that:\n\n> Because\n> > not" in said
    first = (sandbox.repo / "README.md").read_text().splitlines()[0]
    assert f"> README.md:1\n> \n> {first}" in said.replace(">\n", "> \n")
    assert "the line has changed since:\n\n> said:1" in said
    assert "'ada' asks for changes in general:\n\n> And the manual?" in said
    foreign = ("Why?", "manual?", "line 199", "Old news")
    assert not [line for line in ours(said) if any(word in line for word in foreign)]
    assert "Done" not in said
    assert "lint" not in said


def test_conflicts_with_the_base_as_it_is_there_by_now(sandbox: Sandbox, gitlab: GitLab) -> None:
    opened(sandbox, "one")
    other = sandbox.commit("Say another thing", said="another\n")
    sandbox.git("push", "-q", "origin", f"{other}:main")
    gitlab.merges[0].status = "CONFLICT"
    assert "about !1: conflicts with main" in sandbox.chatml("pr", "one", "--fix").err
    said = heard(sandbox, "one")
    assert f"holds by now, {gitlab.tip(APP, 'main') or '':.12}, in these files:\n\n> said" in said
    assert "git merge origin/main" in said


@pytest.mark.long
def test_watched_until_it_is_green_and_approved(sandbox: Sandbox, gitlab: GitLab) -> None:
    opened(sandbox, "one")
    merge, first = gitlab.merges[0], gitlab.tip(APP, "chatml/one")
    merge.pipeline = {"status": "failed", "jobs": [job(1, "unit")]}
    sandbox.chatml("pr", "one", "--watch", "-q")
    wait_until(lambda: gitlab.tip(APP, "chatml/one") != first, "what the agent has committed to be pushed")
    with gitlab.guard:
        merge.pipeline, merge.approved_by = {"status": "success"}, ["ada"]
    assert sandbox.until("one", "done")["pr"]["review"] == "approved"
    told = [event["text"] for event in sandbox.events("one", "message") if "merge request !1" in event["text"]]
    assert len(told) == 1
    assert "> unit fails" in told[0]


# --- what goes wrong --------------------------------------------------------------------------------------------


def test_what_goes_wrong_is_said(sandbox: Sandbox, gitlab: GitLab) -> None:
    gitlab.log_in(offline=True)
    assert "error: GitLab (gitlab.localhost) could not be reached: " in fails(sandbox, "pr", "one")
    gitlab.log_in()
    cases: list[tuple[dict[str, str], Refusal | None, str, str]] = [
        ({"GITLAB_TOKEN": ""}, None, f"glab is not logged in to {HOST}", f"glab auth login --hostname {HOST}"),
        ({}, Refusal(401, "401 Unauthorized"), "does not accept glab's login: 401 Unauthorized", "glab auth login"),
        ({}, Refusal(429, "Retry later", {"Retry-After": "30"}), "was asked too often", "may be asked again at"),
        ({}, Refusal(404, "404 Project Not Found"), "shows this login no such thing: 404 Project", "git remote -v"),
        ({}, Refusal(403, "403 Forbidden"), "this login may not do that", "scope api"),
        ({}, Refusal(502, "GitLab is not responding"), "has a problem of its own: GitLab is not", "later"),
    ]
    for env, refusal, message, hint in cases:
        if refusal is not None:
            gitlab.refusals["*"] = refusal
        done = sandbox.chatml("pr", "one", code=1, env=env)
        (error, advice) = done.err.splitlines()
        assert error.startswith("error: "), done.err
        assert message in error
        assert advice.startswith("hint: "), done.err
        assert hint in advice
        assert done.out == ""
    assert (gitlab.merges, gitlab.tip(APP, "chatml/one")) == ([], None), "nothing is pushed before all is known"


def test_without_glab(sandbox: Sandbox, gitlab: GitLab, tmp_path: Path) -> None:
    opened(sandbox, "one")
    for program in ("git", "sh"):
        (tmp_path / program).symlink_to(shutil.which(program) or program)
    bare = {"PATH": str(tmp_path)}
    for command in (["pr", "one"], ["pr", "one", "--fix"], ["pr", "one", "--merge"]):
        done = sandbox.chatml(*command, code=1, env=bare)
        assert done.err.startswith(
            "error: glab, which talks to GitLab, is not installed, or not in PATH\nhint: install"
        )
    assert gitlab.merges[0].state == "opened"


@pytest.mark.long
def test_a_branch_that_is_not_there_and_one_that_appears_meanwhile(sandbox: Sandbox, gitlab: GitLab) -> None:
    done = sandbox.chatml("pr", "one", "--base", "nowhere", code=1).err
    assert f"{APP} has no target branch 'nowhere'" in done
    assert "is 'nowhere' a branch on GitLab? another one: --base BRANCH; the branch is pushed" in done
    gitlab.refusals["Create"] = Refusal(409, ["Another open merge request already exists"])
    gitlab.refusals["List"] = Refusal(404, "gone")
    assert "shows this login no such thing: gone" in fails(sandbox, "pr", "one")
    assert "refused that: HTTP 409" in sandbox.chatml("pr", "one", code=1).err
    assert "opened !1" in sandbox.chatml("pr", "one").err


# --- by themselves ----------------------------------------------------------------------------------------------


def test_what_an_address_tells() -> None:
    ref = PullRef.of("https://gitlab.example/a/b/c/-/merge_requests/12")
    assert ref is not None
    assert (ref.host, ref.repository, ref.number, ref.label) == ("gitlab.example", "a/b/c", 12, "!12")
    other = PullRef.of("https://github.com/octo/app/pull/3")
    assert (other and other.repository, other and other.label) == ("octo/app", "#3")
    assert PullRef.of("https://gitlab.example/a/-/merge_requests/x") is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [(None, None), ("SUCCESS", "passing"), ("failed", "failing"), ("CANCELED", "failing"), ("skipped", None),
     ("MANUAL", "pending"), ("WAITING_FOR_RESOURCE", "pending")],
)  # fmt: skip
def test_pipelines_in_one_word(status: str | None, expected: str | None) -> None:
    assert verdict(status) == expected


def test_a_trace_without_what_the_runner_puts_in() -> None:
    trace = (
        "2024-05-22T12:12:46.123456Z 00O section_start:1:x[collapsed=true]\r\x1b[0KPrepare\r\n"
        "2024-05-22T12:12:46.123456Z 01E+more\n10%\r50%\rdone\n section_end:2:x\r\x1b[0K"
    )
    assert of_trace(trace) == "Prepare\nmore\ndone\n "
