"""chatml measured beside `claude --bg` and bare git, side by side, in one run: `python -m tests.bench`.

What the figures mean
    Both sides run the CLI that the SDK bundles against the same scripted API, in a sealed home each, with the same
    environment, prompts and permission mode, in turn (A B A B …); the table has the medians, `--json` every sample.
    - *warm*: the daemon of `claude --bg` is up and its spare process, which takes the next session, is ready.
      `claude --bg` makes no worktree at that point; chatml has made and filled one.
    - memory: PSS of all processes under the side's home with ten running, a tenth of it. The daemon and the spare are
      in it: they run only while sessions do. CPU: the same way, over 10 s in which ten sessions wait on the model.
    - at rest: what is left when the ten have answered; beside it, for information, what `claude --bg` keeps.
    - `send`: until the CLI has read the message from its standard input, by the kernel's account of what it has read;
      when the model sees it is up to the agent's next tool boundary.
    - a start's steps are read off the record, the event log and the processes' start times, of the same runs.

Measured in one default run on 2 cores with little other load (0.8 at its start), Python 3.11, git 2.39, Claude Code
2.1.329
    ==========================================================  =======  =======  =====  ========
    figure                                                       chatml    other  ratio  to reach
    ==========================================================  =======  =======  =====  ========
    `ls --json` / `claude agents --json`, 10 running               63 ms   152 ms   0.41      0.45
    `ls --json`, 1,000 sessions at rest / 10                      112 ms    58 ms   1.92      3
    `new -q` returns / `claude --bg` (warm)                        87 ms   147 ms   0.59      0.7
    `new -q`, 50,000 files / 50                                    75 ms    75 ms   0.99      1.3
    `new` to the first request / `claude --bg` (warm)             507 ms   573 ms   0.89      1.5
    10 in a shell loop, until all have asked / `claude --bg`       4.4 s    7.7 s   0.57      0.9
    memory of a running session / `claude --bg`                   145 MB   199 MB   0.73      0.8
    CPU of a waiting session / `claude --bg`                       1.1 %    5.0 %   0.22      0.3
    processes and memory of 10 at rest (`claude --bg`)                 0  23, 2 GB         0
    `send` until the CLI has it                                   101 ms                      200 ms
    `diff --stat`, 3 of 50,000 files changed / `git status`       156 ms    60 ms   2.59      4
    ==========================================================  =======  =======  =====  ========

    That table is of before the rows on rest, bare click and watching were added. By themselves since, on 2 busy
    cores, as CPU of a command and all its children, in turn: `ls --json` of 1,000 at rest, worktrees included, to 10:
    2.1 to 2.4 (3.2 before), not met: 70 us a session, of which building the record is 21, reading and parsing it 17,
    JSON out 16, the look at its worktree 10. CPU at rest, on a terminal: `attach` 0.28 %, `ls --watch` on ten 0.19 %.

    Without the daemon and the spare on the side of `claude --bg`, the ratio of memory would be 0.83, not met.
    With other jobs on both cores (load 5 to 10) all bounds held but one: `new -q` to `claude --bg` was 0.68 to 1.09. It
    is the figure with the most short processes and synced writes in it, and the first to suffer. `diff` was 3.3 there.

Where the time goes, and what was tried
    - `new` to the first request, 507 ms: `new` 67 (imports 45, git 20), the worker's interpreter and imports
      66, checkout beside the SDK's import 61, CLI until its handshake 237, from the message to the request 73. Nearly
      two thirds are the CLI's own. Of its start, 12 ms are `guard.py`; setpriv(1) would take 2 but can't see a parent
      that is dead already.
    - memory: the CLI has 120 MB, of which 114 are its heap; the worker 21, half of which is asyncio and the bare
      interpreter. BUN_OPTIONS=--smol, BUN_JSC_* and MIMALLOC_* change the CLI's share by less than runs differ (10 MB),
      and the agent's own commands would inherit them.
    - CPU: 0.8 % is the CLI's own, 0.3 % the worker's look at its inbox twenty times a second.
    - imports of a command: 45 ms, of which click 15 and the standard library's pathlib, typing, re and inspect 15.
    - `ls --json` to `python -c 'import click'`, CPU of both and of all their children, best of 12 in turn, 10 sessions
      at rest: 1.55, where it was 2.21; `ls` 1.61, where it was 2.39. By instructions, which a busy machine doesn't blur
      (valgrind --tool=cachegrind --cache-sim=no, without git): `import click` 172 million, `ls --json` 261, of which
      pathlib 16, subprocess 14, json 5, dataclasses 4, and our own some 20. Before: 48 for classes that `dataclasses`
      wrote (now `chatml.record`); 114 in `ls` for tabulate, which loads importlib.metadata and with it email, sockets
      and zip files; 70 for rooms of `answer`, `approve`, removal and the agents. One git is started, for 1.5 ms: it
      alone knows which folder is the repository. Compile the package before measuring (python -m compileall chatml):
      with PYTHONDONTWRITEBYTECODE each start compiles what was changed.
"""
