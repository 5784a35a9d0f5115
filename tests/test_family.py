"""Sessions that an agent starts: who their parent is, the caps, what it can't do to others; and what it is told."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chatml.agents import skill
from chatml.environment import MARKER
from chatml.errors import ChatmlError
from chatml.model import Base, Family, Request, Session, Status, Terms, now
from chatml.project import Project, open_project
from chatml.render.rows import families
from chatml.sessions import control, family
from chatml.sessions.caller import caller
from chatml.sessions.limits import Amount, NewLimits
from chatml.text import plain
from tests.made import make_session
from tests.support import Sandbox, wait_until
from tests.worktree import sealed

__all__ = ["sealed"]

SHELL = """\
agent: sh
agents: {sh: {command: [sh, -c, 'sh "$CASE/${PWD##*/}"', '{prompt}']}}
"""
"""An agent that runs the script named after its session."""

ESCAPE = r"""
try() { "$@" >/dev/null 2>>"$CASE/said"; echo "$? $*" >>"$CASE/codes"; }
for number in 1 2 3; do try chatml new -q --name "kid$number" task; done
for number in 1 2 3 4; do chatml new -q --name "late$number" task >/dev/null 2>>"$CASE/late" & done; wait
chatml wait kid1 kid2 >/dev/null
try chatml new -q --name kid4 task
try env CHATML_MAX_CHILDREN=99 CHATML_MAX_DEPTH=9 chatml new -q task
try env -u CHATML_SESSION_ID chatml new -q task
try env CHATML_SESSION_ID=somebody chatml new -q task
for verb in approve deny; do try chatml $verb other; done
try chatml answer other 1
try chatml pr other
try chatml rm --force other
try env -u CHATML_SESSION_ID chatml rm --force other
try chatml rm --force boss
try chatml send --max-turns +5 other more
try chatml rm --force kid1
try chatml new -q task
echo over >>"$CASE/codes"
"""

DEEP = 'chatml new -q --name deep task 2>"$CASE/deep"; echo $? >>"$CASE/deep"'


@pytest.fixture
def case(sandbox: Sandbox, tmp_path: Path) -> Path:
    """The folder of the agents' scripts; chatml is in their PATH."""
    folder = tmp_path / "case"
    folder.mkdir()
    config = sandbox.repo / ".git" / "chatml" / "config.yaml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(SHELL)
    (folder / "chatml").write_text(f'#!/bin/sh\nexec {" ".join(sandbox.command())} "$@"\n')
    (folder / "chatml").chmod(0o755)
    sandbox.env |= {"CASE": str(folder), "PATH": f"{folder}:{sandbox.env['PATH']}"}
    return folder


@pytest.mark.long
def test_an_agent_that_tries_to_escape_its_caps(sandbox: Sandbox, case: Path) -> None:
    asks = (Request("1", "question", "Which?", {}, now()),)
    make_session(sandbox, "other", status=Status.WAITING, requests=asks)
    (case / "boss").write_text(ESCAPE)
    for number in range(1, 5):
        (case / f"kid{number}").write_text(DEEP if number == 1 else "true")
        (case / f"late{number}").write_text("true")
    sandbox.chatml("new", "go", "--name", "boss", "-q", "--wait")
    codes = [line.partition(" ")[::2] for line in (case / "codes").read_text().splitlines()]
    assert codes[-1][0] == "over"
    worked = [command for code, command in codes if code == "0"]
    assert worked == [*(f"chatml new -q --name kid{number} task" for number in range(1, 4)), "chatml rm --force kid1"]
    assert {code for code, command in codes[:-1] if command not in worked} == {"1"}
    assert len(codes) == 4 + 13 + 1
    assert (case / "deep").read_text().splitlines() == [
        "error: the agent of 'kid1' may start no sessions: an agent has started it itself",
        f"hint: {family.NO_MORE}",
        "1",
    ]
    full, said = "error: the agent of 'boss' has started 5 sessions; it may start 5\n", (case / "said").read_text()
    assert said.count(full) == 4
    assert (case / "late").read_text().count(full) == 2, "four at once, for two places"
    assert "error: an agent can't approve 'other', which it has not started\nhint: a person can: chatml approve" in said
    assert "error: an agent can't send 'other', which it has not started\n" in said
    found = {one["name"]: one["parent"] for one in sandbox.chatml("ls", "--json").json}
    late = [name for name in found if name.startswith("late")]
    assert len(late) == 2
    assert found == {"boss": None, "other": None, **dict.fromkeys(["kid2", "kid3", *late], "boss")}
    assert sandbox.session("other")["status"] == "waiting"


def test_children_go_on_without_their_parent(sandbox: Sandbox, case: Path) -> None:
    (case / "boss").write_text("chatml new -q --name kid task; sleep 600")
    (case / "kid").write_text('until test -e "$CASE/go"; do sleep 0.05; done; echo fine')
    sandbox.chatml("new", "go", "--name", "boss", "-q")
    wait_until(lambda: (sandbox.state("kid") / "events.jsonl").exists(), "the child")
    sandbox.until("kid", "running")
    rows = sandbox.chatml("ls").out.splitlines()
    assert [row.split("  ")[0] for row in rows[1:]] == ["boss", "└ kid"]
    stopped = sandbox.chatml("stop", "boss")
    assert stopped.err == "stopped boss\n  kid: started by its agent, go on\n"
    assert sandbox.session("kid")["parent"] == "boss"
    assert "  kid: started by its agent, go on as sessions of their own\n" in sandbox.chatml("rm", "boss").err
    alone = sandbox.session("kid")
    assert (alone["parent"], alone["status"]) == (None, "running")
    (case / "go").touch()
    assert sandbox.until("kid", "done")["result"] == "fine"


def test_a_person_in_a_worktree_is_no_agent(sandbox: Sandbox, case: Path) -> None:
    (case / "here").write_text("true")
    worktree = make_session(sandbox, "boss")
    sandbox.chatml("new", "go", "--name", "here", "-q", "--wait", cwd=worktree)
    assert sandbox.session("here")["parent"] is None


# --- what a child may be ------------------------------------------------------------------------------------------


@pytest.fixture
def project(sandbox: Sandbox, sealed: None) -> Project:  # noqa: ARG001
    return open_project(sandbox.repo)


def record(project: Project, name: str) -> Session:
    return project.store.session(name).read()


@contextlib.contextmanager
def agent_of(project: Project, name: str) -> Iterator[None]:
    """This process is one of that session's agent."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(MARKER, record(project, name).id)
        yield


def draft(**terms: object) -> Session:
    session = Session(
        name="",
        status=Status.PREPARING,
        terms=Terms(prompt="task"),
        branch="",
        base=Base("main", "0" * 40),
        worktree="",
        session_id=None,
        created_at=now(),
        updated_at=now(),
        id=str(uuid.uuid4()),
    )
    return session.with_terms(**terms)


def adopt(box: Sandbox, project: Project, name: str, /, spent: float = 0.0, **terms: Any) -> Session:
    """The session of that name as the agent of `boss` gets it, at work."""
    with agent_of(project, "boss"), family.adopted(project, draft(**terms)) as child:
        kept: dict[str, Any] = {"family": child.family, "terms": child.terms}
        make_session(box, name, status=Status.WAITING, cost_usd=spent, **kept)
    return record(project, name)


def test_a_child_is_no_freer_than_its_parent(sandbox: Sandbox, project: Project) -> None:
    narrow: dict[str, Any] = {
        "sandbox": "required",
        "permission_mode": "dontAsk",
        "scope": ("src/**",),
        "notify": "off",
    }
    rules: dict[str, Any] = {"allow": ("Read",), "deny": ("WebFetch",), "tools": ("Read", "Bash")}
    make_session(sandbox, "boss")
    project.store.session("boss").update(lambda session: session.with_terms(**narrow, **rules))
    wide: dict[str, Any] = {
        "sandbox": "off",
        "permission_mode": "bypassPermissions",
        "scope": ("**",),
        "notify": "sh evil",
    }
    asked: dict[str, Any] = {
        "mode_after_plan": "bypassPermissions",
        "allow": ("Bash(*)", "Read"),
        "deny": ("Edit",),
        "max_depth": 9,
        "max_children": 99,
    }
    terms = adopt(sandbox, project, "kid", **wide, **asked).terms
    assert {key: getattr(terms, key) for key in narrow} == narrow
    assert (terms.allow, set(terms.deny), terms.tools) == (("Read",), {"Edit", "WebFetch"}, ("Read", "Bash"))
    assert (terms.mode_after_plan, terms.max_depth, terms.max_children) == (None, 0, 5)
    with pytest.raises(ChatmlError, match="no say in what that may do"):
        adopt(sandbox, project, "free", agent="sh", command=("sh", "-c", "{prompt}"))
    own = adopt(sandbox, project, "own", sandbox="required", scope=("docs/**",), permission_mode="plan").terms
    assert (own.permission_mode, own.after_plan, own.scope) == ("plan", "dontAsk", ("src/**",)), "narrower, as it asks"


def test_all_children_together_cost_what_is_left_to_their_parent(sandbox: Sandbox, project: Project) -> None:
    make_session(sandbox, "boss", cost_usd=1.0, max_budget_usd=5.0)
    assert adopt(sandbox, project, "first", spent=0.5, max_budget_usd=3.0).terms.max_budget_usd == 3.0
    assert adopt(sandbox, project, "second", max_budget_usd=3.0).terms.max_budget_usd == 1.0, "what is not promised"
    with pytest.raises(ChatmlError, match=r"nothing is left of the \$5 of 'boss'"):
        adopt(sandbox, project, "third")
    for name in ("first", "second"):
        project.store.session(name).update(lambda session: replace(session, status=Status.DONE))
    third = adopt(sandbox, project, "third")
    assert third.terms.max_budget_usd == 3.5, "at rest, what it has spent counts alone; without a limit, all is its own"
    with agent_of(project, "boss"):
        with pytest.raises(ChatmlError, match="nothing is left"):
            control.send(project, "first", "go on")
        with pytest.raises(ChatmlError, match="can't change the limits"):
            control.resume(project, "first", NewLimits(max_budget_usd=Amount(2, more=True)))
    sandbox.chatml("rm", "--force", "first", "third")
    family_of = record(project, "boss").family
    gone = sum(one.usd for one in family_of.removed_children)
    assert (family_of.children, gone) == (3, 0.5), "what is removed still counts"
    assert adopt(sandbox, project, "fourth").terms.max_budget_usd == 3.5


def test_whose_agent_calls_is_seen_without_the_marker_too(
    sandbox: Sandbox, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_session(sandbox, "boss")
    session_id = record(project, "boss").id
    assert caller(project) is None
    monkeypatch.setattr("chatml.marking.marks_above", lambda: iter(["of another repository", session_id]))
    above = caller(project)
    assert above is not None
    assert above.name == "boss"
    monkeypatch.setenv(MARKER, "of one that is gone")
    gone = caller(project)
    assert gone is not None
    assert gone.name is None, "an agent, whoever's it was"
    with pytest.raises(ChatmlError, match="own session is not in this repository"), family.adopted(project, draft()):
        pass


def test_what_a_child_asks_permission_for_a_person_decides(sandbox: Sandbox, project: Project) -> None:
    make_session(sandbox, "boss")
    kinds = {"1": "permission", "2": "permission"}
    asks = tuple(Request(number, kind, "Bash: curl", {"rules": ["Bash"]}, now()) for number, kind in kinds.items())
    mine = Family("boss", record(project, "boss").id)
    agent: dict[str, Any] = {"agent": "x", "command": ("true", "{prompt}")}
    make_session(sandbox, "kid", status=Status.WAITING, requests=asks, family=mine, **agent)
    marked = {MARKER: record(project, "boss").id}
    for more in ((), ("--always",), ("--for-all",)):
        refused = sandbox.chatml("approve", "kid", "--id", "1", *more, env=marked, code=1)
        assert refused.err.startswith("error: an agent can't "), refused
        assert refused.err.endswith("hint: a person decides that: leave it to the one who started you\n")
    assert not project.store.approvals.exists()
    sandbox.chatml("deny", "kid", "--id", "1", env=marked)
    sandbox.chatml("stop", "kid")


def test_a_family_stands_where_its_neediest_would() -> None:
    def one(name: str, status: Status, parent: str | None = None) -> Session:
        family_of = Family(parent, parent and f"id of {parent}")
        return replace(draft(), name=name, status=status, id=f"id of {name}", family=family_of)

    sessions = [
        one("quiet", Status.DONE),
        one("busy", Status.RUNNING),
        one("boss", Status.DONE),
        one("kid", Status.RUNNING, "boss"),
        one("asks", Status.WAITING, "boss"),
        one("grandkid", Status.DONE, "kid"),
        one("orphan", Status.FAILED, "gone"),
    ]
    assert [(depth, session.name) for depth, session in families(sessions)] == [
        *[(0, "boss"), (1, "asks"), (1, "kid"), (2, "grandkid")],
        *[(0, "orphan"), (0, "busy"), (0, "quiet")],
    ]


# --- what agents are told ---------------------------------------------------------------------------------------


def test_the_skill_file_is_written_once_and_never_over_another(sandbox: Sandbox) -> None:
    path = sandbox.repo / skill.PATH
    assert sandbox.chatml("init", "--skill", "--json").json == {"path": str(path), "outcome": "written"}
    text = path.read_text()
    assert text.startswith("---\nname: chatml\ndescription: ")
    assert len(text.splitlines()) < 100
    assert text.endswith(sandbox.chatml("help", "agents").out)
    assert sandbox.chatml("init", "--skill").err == "it was there already\n"
    path.write_text("mine")
    assert "says something else\nhint: to replace it: " in sandbox.chatml("init", "--skill", code=1).err
    assert path.read_text() == "mine"
    sandbox.chatml("init", "--skill", "--force")
    assert path.read_text() == text
    assert sandbox.chatml("init", "--force", code=2).err.startswith("error: --force goes with --skill\n")


@pytest.mark.parametrize("link", [".claude", ".claude/skills", skill.PATH])
def test_the_skill_file_is_written_through_no_link_that_leads_out(sandbox: Sandbox, tmp_path: Path, link: str) -> None:
    out = tmp_path / "out"
    if link != skill.PATH:
        out.mkdir()
    (sandbox.repo / link).parent.mkdir(parents=True, exist_ok=True)
    (sandbox.repo / link).symlink_to(out)
    assert "leads out of the checkout" in sandbox.chatml("init", "--skill", "--force", code=1).err
    assert not list(out.iterdir()) if out.exists() else link == skill.PATH


def test_help_works_as_gits_does(sandbox: Sandbox) -> None:
    assert sandbox.chatml("help", "new").out == sandbox.chatml("new", "--help").out
    assert sandbox.chatml("help").out == sandbox.chatml("--help").out
    wrong = sandbox.chatml("help", "nwe", code=2)
    assert wrong.err == "error: no help on 'nwe'; did you mean 'new'?\nhint: see 'chatml help'\n"
    assert plain(wrong.err) == wrong.err
