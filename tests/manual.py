"""What the manual pages say beside the program's own help: exit codes, environment, files, examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

DESCRIPTION = (
    "chatml runs coding agents in parallel on one git repository. Each task gets a session: its own branch, its own "
    "git worktree, and an agent that works there in a detached process. Nobody waits for an agent, no agent touches "
    "another's files, and closing the terminal stops nothing.",
    "A session is queued, preparing, running, waiting (it needs a person), done, failed (the agent or the setup ended "
    "in an error), stopped (by a person) or crashed (its process died). In each of these, 'chatml send' continues it.",
    "There is no server, no daemon and no account. All that chatml knows lies in files under .git/chatml. Inside a "
    "session's worktree, NAME may be left out of every command that takes one.",
)

EXIT_STATUS: Mapping[str, str] = {
    "0": "Success.",
    "1": "An expected failure. A line 'error: ...' on standard error says what is wrong, 'hint: ...' what to do.",
    "2": "Wrong usage: an unknown command or option, or a missing or invalid value.",
    "3": "A session needs a person ('wait', 'new --wait', 'send --wait').",
    "70": "A bug in chatml. The traceback is in the file that the message names.",
    "124": "The time of --timeout was over.",
    "130": "Ended by Ctrl-C.",
}
EXIT_STATUS_NOTE = (
    "With several names, the rest is still done after a failure, and the highest code is returned. "
    "A closed pipe is no error."
)

ENVIRONMENT: Mapping[str, str] = {
    "CHATML_BASE": "Like the key 'base' of the configuration; so with every key that holds one value, in capitals: "
    "CHATML_MODEL, CHATML_PERMISSION_MODE, and so on. A list has one item a line. Empty counts as not set.",
    "CHATML_TRUST": "The digests of commands in .chatml.yaml that may run, for CI: 'chatml trust' prints them.",
    "ANTHROPIC_API_KEY": "The key that the agent uses. Without it, the agent uses the login of Claude Code.",
    "CLAUDE_CONFIG_DIR": "Where Claude Code keeps its login, settings and conversations (default: ~/.claude).",
    "CLAUDE_CODE_MAX_RETRIES": "How often the agent asks again after an error of the model's server (default: 3).",
    "EDITOR, VISUAL": "The editor that 'chatml new' opens without a prompt, and 'chatml approve --edit'.",
    "FORCE_COLOR": "Print colours also where the output is no terminal. '--color' goes before it.",
    "NO_COLOR": "Print no colours. '--color' goes before it.",
    "XDG_CONFIG_HOME": "Where the person's own configuration lies (default: ~/.config).",
}

FILES: Mapping[str, str] = {
    ".git/chatml/config.yaml": "Settings of this person for this repository.",
    ".chatml.yaml": "Settings of the team, committed. Its commands run once you approved them ('chatml trust').",
    "~/.local/state/chatml/": "Which ports sessions have (ports.json), and which repositories have sessions "
    "(repositories.json); $XDG_STATE_HOME is honoured.",
    "~/.config/chatml/config.yaml": "Settings of this person for all repositories.",
    ".git/chatml/sessions/NAME/": "One session: session.json (the record), events.jsonl (the log), inbox.jsonl "
    "(messages to the agent), worker.log, services/ (their logs), and the locks.",
    "../REPOSITORY.chatml/NAME": "The session's worktree, beside the main checkout.",
    "refs/chatml/try/": "What 'chatml try' has put aside (state), and edits made meanwhile (edits/N).",
    "refs/chatml/trash/NAME": "What 'chatml rm' removed, for 'chatml restore'.",
}

EXAMPLES: Mapping[str, Sequence[tuple[str, str]]] = {
    "chatml": (
        (
            "Start two tasks, and see what they do:",
            'chatml new "add rate limiting"\nchatml new "fix the flaky test"\nchatml ls',
        ),
        ("Look into one; Ctrl-C leaves and stops nothing:", "chatml attach add-rate-limiting"),
        ("Tell it something, while it works or later:", 'chatml send add-rate-limiting "per user, not per address"'),
        (
            "Review, open the pull request, clean up:",
            "chatml diff add-rate-limiting\nchatml pr add-rate-limiting\nchatml rm add-rate-limiting",
        ),
    ),
    "new": (
        ("From what is checked out here:", 'chatml new "add rate limiting"'),
        ("From another commit, under a name of your own:", 'chatml new --name limit --base origin/main "add limits"'),
        (
            "In a script, and go on when it is done:",
            'name=$(chatml new -q "update the changelog") && chatml wait "$name"',
        ),
        ("A long task from a file:", "chatml new - < task.md"),
        ("A session for each task of a list, and again for what was added:", "chatml new -f tasks.md"),
        ("One for each row of a table:", "chatml new --each bugs.csv --name 'bug-{id}' 'Fix {title}'"),
        ("Three tries to choose from:", 'chatml new -n 3 "make the parser faster"'),
        ("Plan first; 'chatml approve' lets it begin:", 'chatml new --permission-mode plan "split this module"'),
        ("Keep it to some files:", "chatml new --scope 'src/billing/**' \"round to cents\""),
        ("Tests only:", 'chatml new --role tester "cover the parser"'),
        ("Where nobody answers:", 'chatml new --wait --on-request deny "fix the lint errors"'),
    ),
    "ls": (
        ("What needs a person:", "chatml ls --status waiting --status failed --status crashed"),
        ("What waits for a place:", "chatml ls --status queued"),
        ("Those of all your repositories:", "chatml ls --everywhere"),
        ("Keep it on the screen:", "chatml ls --watch"),
    ),
    "attach": (("", "chatml attach add-rate-limiting"), ("Every event as JSON:", "chatml attach limit --json")),
    "logs": (
        ("", "chatml logs add-rate-limiting | less"),
        (
            "Every command that the agent ran:",
            "chatml logs limit --json | jq -r 'select(.name==\"Bash\").input.command'",
        ),
        ("What the last 'merge --check' has printed:", "chatml logs --check"),
    ),
    "cost": (
        ("", "chatml cost"),
        ("Day by day:", "chatml cost --by day"),
        ("One number, for a script:", "chatml cost --json | jq 'map(.cost_usd) | add'"),
    ),
    "wait": (
        ("All that are at work, ten minutes at most:", "chatml wait --timeout 600"),
        ("The first of two:", "chatml wait --any left right"),
    ),
    "send": (
        ("", 'chatml send add-rate-limiting "per user, not per address"'),
        ("Stop what it does, and tell it another thing:", 'chatml send --interrupt limit "leave the tests alone"'),
        ("The next task, once it is done with this one:", 'chatml send --queue limit "now write the tests"'),
        ("The output of a command:", "npm test 2>&1 | chatml send limit -"),
        ("Its budget is used up; give it two dollars more:", 'chatml send --max-budget-usd +2 limit "go on"'),
    ),
    "unsend": (
        ("What was not read yet:", "chatml unsend add-rate-limiting"),
        ("Take one of them back, by its ID:", "chatml unsend add-rate-limiting 3"),
    ),
    "show": (("", "chatml show add-rate-limiting"), ("The plan, as Markdown:", "chatml show limit --plan > plan.md")),
    "approve": (
        ("", "chatml approve add-rate-limiting"),
        ("And don't ask for such a call again in this session:", "chatml approve limit --always"),
        ("Another command than the one it asked for:", "chatml approve limit --edit"),
        ("Everything that is asked, after a look at it:", "chatml approve --all"),
    ),
    "deny": (("", 'chatml deny add-rate-limiting -m "use the library that we have"'),),
    "answer": (
        ("The second option:", "chatml answer add-rate-limiting 2"),
        ("In words:", 'chatml answer add-rate-limiting "neither: keep it in memory"'),
        ("Two questions, the second with several options:", "chatml answer limit 1 1,3"),
    ),
    "stop": (("", "chatml stop add-rate-limiting"), ("Everything that runs:", "chatml stop --all")),
    "resume": (
        ("After a reboot:", "chatml resume --all"),
        ("With ten more answers of the model:", "chatml resume add-rate-limiting --max-turns +10"),
    ),
    "diff": (
        ("", "chatml diff add-rate-limiting"),
        ("Only what is in one folder:", "chatml diff add-rate-limiting -- src"),
        ("Try it in the main checkout, without the session's commits:", "chatml diff limit | git apply"),
        ("What it and another session do to the same files:", "chatml diff limit --with login"),
        ("The files that conflict with the base as it is now:", "chatml diff limit --conflicts --name-only"),
    ),
    "review": (
        ("Wait for the findings, and have them mended:", "chatml review add-rate-limiting --send"),
        ("The grave ones:", "chatml review limit --json | jq -r '.[] | select(.severity==\"high\").text'"),
    ),
    "path": (
        ("Go there:", 'cd "$(chatml path add-rate-limiting)"'),
        ("Run the tests there:", 'make -C "$(chatml path add-rate-limiting)" test'),
    ),
    "sync": (
        ("", "chatml sync add-rate-limiting"),
        ("All at rest; the agents of those that conflict resolve that:", "chatml sync --all --resolve"),
        ("By a merge, so that no commit is made anew:", "chatml sync --merge add-rate-limiting"),
    ),
    "conflicts": (
        ("", "chatml conflicts"),
        ("Do all of them together still pass, and if not, who is it?", "chatml conflicts --check 'make test'"),
        ("Who is in the way of one?", "chatml conflicts add-rate-limiting"),
    ),
    "merge": (
        ("", "chatml merge add-rate-limiting"),
        ("What would land, in which order, and what conflicts:", "chatml merge --all --dry-run"),
        ("All that can land; the agents of the others resolve their conflicts:", "chatml merge --all --resolve --rm"),
        (
            "Only what passes the tests together; each agent is told what fails with its work:",
            "chatml merge --all --check 'make test' --resolve",
        ),
    ),
    "pr": (
        ("", "chatml pr add-rate-limiting"),
        ("As a draft:", "chatml pr limit --draft"),
        ("What fails there, to its agent; then merged:", "chatml pr limit --fix\nchatml pr limit --merge"),
    ),
    "summary": (
        ("What came of the night's work, and what to do now:", "chatml summary"),
        ("As the summary of a GitHub Actions job:", 'chatml summary --markdown >> "$GITHUB_STEP_SUMMARY"'),
        (
            "Sessions whose tests failed, for a script:",
            "chatml summary --json | jq 'map(select(any(.tests[]?; .ok == false)).name)'",
        ),
    ),
    "setup": (
        ("After a failure was mended:", "chatml setup add-rate-limiting"),
        ("Every step again:", "chatml setup --all limit"),
    ),
    "run": (
        ("All of them, and look at the first:", "chatml run add-rate-limiting --open"),
        ("What one has printed, and on:", "chatml run limit web --logs -f"),
        ("End them:", "chatml run --stop limit"),
    ),
    "exec": (
        ("The tests of one:", "chatml exec add-rate-limiting -- make test"),
        ("Of all, side by side:", "chatml exec --all -- make test"),
        ("A shell, where its variables are set:", "chatml exec limit -- bash"),
    ),
    "try": (
        ("In the main checkout, as its agent goes on:", "chatml try add-rate-limiting --follow"),
        ("Put back what was there:", "chatml try --stop"),
    ),
    "teardown": (("", "chatml teardown add-rate-limiting"),),
    "rm": (
        ("All whose work has landed:", "chatml rm --merged"),
        ("What would be removed, and what is in the way:", "chatml rm --all --dry-run"),
    ),
    "restore": (("What can come back:", "chatml restore"), ("", "chatml restore add-rate-limiting")),
    "help": (("", "chatml help new"), ("For an agent that starts sessions itself:", "chatml help agents")),
    "init": (
        ("Settings that fit the project, to edit:", "chatml init"),
        ("See them first:", "chatml init --print"),
        ("Tell the agents of this project how to use chatml:", "chatml init --skill"),
    ),
    "trust": (
        ("See what would run, and approve it:", "chatml trust"),
        ("For CI, where nobody is asked:", "chatml trust -q"),
    ),
    "doctor": (("", "chatml doctor"),),
    "demo": (("", "chatml demo"),),
}
