"""Which calls of git an agent may make without asking: none that writes elsewhere, and all that a commit takes."""

from __future__ import annotations

import pytest

from chatml.agents.claude.git_line import may_do_harm
from tests.faults import Serve
from tests.support import Sandbox

HARM = [
    "git diff --output=/tmp/x",
    "git diff --output /tmp/x",
    'git diff --ou"tput"=/tmp/x',
    "git diff --out''put=/tmp/x",
    "git diff --o\\utput=/tmp/x",
    "git diff --out\\\nput=/tmp/x",
    "g'i't diff --output=/tmp/x",
    "git log -1; git show --ext-diff",
    "git status\ngit diff --output=x",
    "git status;git -c core.pager=evil log",
    "git -c diff.external=evil diff",
    "git --exec-path=/tmp/evil status",
    "git --config-env=a=B status",
    "git -C . -p log",
    "git log --textconv",
    "git grep -O'evil' x",
    "git grep -nOevil x",
    "git grep --open-files=evil x",
    "git diff $(evil)",
    'git diff "$(evil)"',
    "git diff `evil`",
    "git diff $OPTION",
    "git diff $'--output=x'",
    "git diff <(evil) $x",
    "git diff *",
    "git diff ''*",
    "git diff --outpu[t]=x",
    "git diff {--output=x,}",
    "GIT_EXTERNAL_DIFF=evil git diff",
    "sh -c 'git diff --output=x'",
    "git diff 'unfinished",
    "git diff '-m \"$(cat <<'EOF'\n' --output=x '\nEOF\n)\"'",
    "git commit -m \"$(cat <<'EOF'\nEOF\nevil\n)\"",
    'git commit -m "$(cat <<EOF\n$(evil)\nEOF\n)"',
    "git commit -F - <<'EOF' && git diff --output=x\ntext\nEOF",
    "git commit -F - <<'EOF'\ntext\nEOF\ngit diff --output=x\nEOF\n",
    "cat <<EOF\n'\nEOF\ngit diff --output=x\ncat <<EOF\n'\nEOF",
    "cat <<'EOF' # '\n'\nEOF\ngit diff --output=x\n",
    'git commit -m "$(cat <<\'EOF\'\n"\nEOF\n)" ; git diff " # " --output=x',
    "git log 'a' #b\\\ngit diff --output=x",
    "git diff a\\ #b --output=x",
    "git diff a\\\n#b --output=x",
    "# '\ngit diff --output=x #'",
]

FINE = [
    "git status",
    "printf 'x\\n' > new.py && git add -A && git commit -qm 'Add new.py'",
    "git add -A && git commit -m 'Say what --output does, for $5'",
    'git commit -m "It\'s \\$5; see --output > x"',
    "git add *.py",
    "git diff HEAD~1 -- src/*.py 2>&1 | head -20",
    "git log --oneline @{u}.. 2>/dev/null",
    "git diff --text --stat",
    "git log --format='%h $x `y`' --grep '>'",
    "git -C sub --no-pager log -1",
    "git commit -m one \\\n  -m two",
    "git add -A && git commit -m \"$(cat <<'EOF'\nDon't say \"--output\" or $(x)\n\nThe user's `own`.\nEOF\n)\"",
    "cd 'a b' && git commit -F - <<'EOF' && git status\nDon't\n$(x)\nEOF",
    "git status # don't mind\ngit log -1",
    'git commit -m "Fix #12: don\'t"',
    "echo $HOME > .gitignore",
    "cat > notes.md <<'EOF'\nuse git diff --output=x, don't\nEOF",
    "curl --output x https://github.com/x",
]


@pytest.mark.parametrize("command", HARM)
def test_a_call_that_could_write_or_run_anything_is_asked_for(command: str) -> None:
    assert may_do_harm(command)


@pytest.mark.parametrize("command", FINE)
def test_what_a_commit_takes_is_not(command: str) -> None:
    assert not may_do_harm(command)


def test_an_agent_commits_without_asking_and_writes_nowhere_else(sandbox: Sandbox, serve: Serve) -> None:
    outside = sandbox.home / "written"
    message = 'git commit --allow-empty -m "$(cat <<\'EOF\'\nDon\'t ask "me"\nEOF\n)"'
    commands = [f'git diff HEAD --ou"tput"={outside}', f"git log > {outside}", message]
    serve({"*": [*({"Bash": {"command": command}} for command in commands), "Fine."]})
    sandbox.chatml("new", "first", "--name", "x", "--wait", "--on-request", "deny")
    assert not outside.exists()
    assert sandbox.session("x")["changes"]["commits"] == 1, sandbox.events("x")
    assert sandbox.git("log", "-1", "--format=%s", "chatml/x") == 'Don\'t ask "me"'
