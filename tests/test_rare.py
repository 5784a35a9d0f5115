"""What a real program does not do on demand: killed amid its answer, half an answer, a kernel that forbids."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pytest_subprocess import FakeProcess

from chatml import containment
from chatml.checks import Level, machine
from chatml.errors import ChatmlError
from chatml.forge.github import GitHubRepository

REPO_VIEW = ["gh", "repo", "view", "--json", "nameWithOwner,url,defaultBranchRef"]


@pytest.mark.parametrize(
    ("code", "out", "err", "said"),
    [
        (-9, '{"nameWithOwner": "oc', "", "gh repo view: killed by signal 9"),
        (0, '{"nameWithOwner": "oc', "", 'gh repo view gave no proper answer: {"nameWithOwner": "oc'),
        (0, "", "a new release of gh is available", "gh repo view gave no proper answer: a new release of gh is av"),
        (0, "", "", "gh repo view gave no proper answer: nothing"),
        (4, "", "run gh auth login", "gh is not logged in to GitHub"),
        (1, "", "GraphQL: Something went wrong while executing your query.", "gh repo view: "),
    ],
)
def test_half_an_answer_of_gh_is_an_error_that_says_so(
    fp: FakeProcess, tmp_path: Path, code: int, out: str, err: str, said: str
) -> None:
    fp.register(REPO_VIEW, returncode=code, stdout=out, stderr=err)
    with pytest.raises(ChatmlError) as caught:
        GitHubRepository.find(tmp_path)
    assert caught.value.message.startswith(said)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("code", "err", "said"),
    [
        (1, "bwrap: No permissions to create new namespace\nmore", "the kernel forbids it: bwrap: No permissions to"),
        (-4, "", "the kernel forbids it: exit code -4"),
    ],
)
def test_a_kernel_that_forbids_sandboxes_is_told(
    fp: FakeProcess, monkeypatch: pytest.MonkeyPatch, code: int, err: str, said: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    fp.register(list(containment.PROBE), returncode=code, stderr=err)
    lack = containment.lack()
    assert lack is not None
    assert lack.reason.startswith(said)
    assert "namespaces" in lack.remedy


@pytest.mark.parametrize(("code", "out"), [(0, "Segmentation fault"), (139, ""), (0, "")])
def test_a_claude_code_that_is_broken_is_found_by_doctor(fp: FakeProcess, code: int, out: str) -> None:
    from chatml.agents.claude.agent import find_cli

    fp.register([str(find_cli()), "--version"], returncode=code, stdout=out)
    (found,) = machine._claude()
    assert found.level is Level.PROBLEM
    assert "does not run" in found.message
