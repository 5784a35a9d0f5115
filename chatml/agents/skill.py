"""What an agent is told that starts sessions itself: by `chatml help agents`, and by the skill file."""

PATH = ".claude/skills/chatml/SKILL.md"
"""Where Claude Code looks for it, from the top of a checkout."""

HEAD = """\
---
name: chatml
description: Run coding agents in parallel with chatml, each in its own git worktree. Use it to split a large task \
into independent parts, to start, watch, steer and land such sessions, or when the person mentions chatml or sessions.
---

"""

TEXT = """\
# chatml for agents

chatml runs a coding agent for each task: a *session*, with its own branch, git worktree and background process. You
can start sessions, wait for them, read and steer them. Nothing here needs a terminal, and no command asks anything.

Use it where parts of a task are independent and touch different files. One thing after the other, or many hands in one
file, you do better yourself.

## Start

    chatml new "Add rate limiting to src/api. Run pytest tests/api. Commit." --name limits --json
    chatml new "…" --name docs --scope 'docs/**' --max-budget-usd 1 -q

- It returns at once. The prompt is all that the other agent knows: say what to do, where, how to check it, and what to
  leave alone. A long one goes through standard input: `chatml new - --name limits < task.md`
- It starts from what is committed here: commit first what it needs. `--base REF` starts from elsewhere.
- `--check "pytest -q tests/api"`: it is `done` only once that passes; what fails there is its next message
  (`--retries N`).
- `chatml new -f tasks.md` starts one for each bullet of a list; `--after NAME` waits until that one is done, and starts
  from what it has committed.
- `--role researcher` only reads and reports; `--model`, `--max-turns` and `--max-budget-usd` as you need them.

## Wait: don't poll

    chatml wait --any --json limits docs     # until one of them is at rest
    chatml wait --json limits docs           # until all are; --timeout 600 ends it before that, with code 124

Each object has `name`, `status`, `result` (the agent's last answer), `error`, `changes`, `cost_usd`. Name them: without
names, your own session is waited for too. Don't call `ls` or `sleep` in a loop.

| status | what to do |
| --- | --- |
| `done` | read the result, and the diff |
| `waiting` | it needs an answer: see below |
| `failed` | read `error`; `chatml send NAME "…"` goes on |
| `queued` | it starts by itself; where one that it waits for failed, `wait` ends with 3, and `resume` starts it |
| `stopped`, `crashed` | `chatml resume NAME` |

## Read

    chatml diff limits                 # all that it would bring, committed or not; --stat, --json
    chatml show limits --json
    chatml logs limits                 # the whole transcript: long
    chatml ls --json                   # all sessions; yours have your session's name as "parent"
    chatml summary                     # what came of each, files that several have changed, and the next command

## Steer

    chatml send limits "Use the limiter in src/lib instead."      # joins the turn; at rest it starts the next one
    chatml send --interrupt limits "Stop that. …"
    chatml stop limits

## Answer

    chatml answer limits 2             # a question of your own session: an option's number, or words
    chatml approve limits              # its plan; what it may *do*, a person decides
    chatml deny limits -m "Leave the lock file alone."

A `permission` that a session asks for goes to the person who started you. Don't wait for that without an end: say in
your answer which session waits and for what, and go on with something else.

## Land

    chatml merge limits                # into your branch, if it merges cleanly: read its diff first
    git merge chatml/limits            # where it conflicts: resolve that yourself, or 'chatml merge --resolve limits'
    chatml pr limits                   # or publish it, where you were asked to
    chatml rm limits                   # refuses where work would be lost; 'chatml restore limits' brings it back

That you never merge doesn't hold for the branches of sessions that you have started.

## What you can't do

- `approve`, `answer`, `deny`, `send`, `unsend`, `stop`, `merge`, `pr` and `rm` work on sessions that you have
  started, and on no others.
- You may start 5 sessions, and those start none, unless the person has set other limits. They are no freer than you,
  and all together may cost what is left of your budget: give each its share with `--max-budget-usd`.
- chatml writes below `.git/chatml`, which a sandboxed command can't: run it outside of the sandbox.
- Where you are refused, do the work yourself or tell the person. Don't look for a way around it.

## Exit codes

0 done · 1 an expected failure (`error:` and `hint:` on standard error) · 2 wrong usage · 3 a session needs a person ·
70 a bug · 124 the timeout ran out. `--json` prints nothing but JSON on standard output. More: `chatml help COMMAND`.
"""
