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

Measured in one default run on 2 cores, nothing else at work (load 0.1 before it began), Python 3.11, git 2.39, Claude
Code 2.1.332
    =============================================================  =======  =======  =====  ========
    figure                                                          chatml    other  ratio  to reach
    =============================================================  =======  =======  =====  ========
    `ls --json` / `claude agents --json`, 10 running                 70 ms   194 ms   0.36      0.45
    `ls --json` / `claude agents --json`, 10 at rest                 72 ms   175 ms   0.41      0.42
    `ls --json`, 10 at rest / `python -c 'import click'`             72 ms    41 ms   1.74   1.5  NO
    `ls` on a terminal, 10 at rest / `python -c 'import click'`      75 ms    41 ms   1.80         2
    `ls --json`, 1,000 sessions at rest / 10                        146 ms    62 ms   2.34   1.6  NO
    `new -q` returns / `claude --bg` (warm)                         137 ms   182 ms   0.75   0.6  NO
    `new -q`, 50,000 files / 50                                     120 ms   115 ms   1.04       1.3
    `new` to the first request / `claude --bg` (warm)               729 ms   793 ms   0.92       1.5
    10 in a shell loop, until all have asked / `claude --bg`         5.7 s    8.2 s   0.69       0.9
    memory of a running session / `claude --bg`                     143 MB   192 MB   0.75       0.8
    CPU of a waiting session / `claude --bg`                         1.2 %    5.8 %   0.21       0.3
    processes and memory of 10 at rest (`claude --bg`)                   0  23, 2 GB         0
    `send` until the CLI has it                                     108 ms                    200 ms
    `send` until the CLI has it / `python -c 'import click'`        108 ms    44 ms   2.47   2.2  NO
    CPU of `attach` on a session at rest                             0.3 %                     0.3 %
    CPU of `ls --watch` on ten at rest                               0.2 %                     0.5 %
    `diff --stat`, 3 of 50,000 files changed / `git status`         204 ms    76 ms   2.68         4
    =============================================================  =======  =======  =====  ========

    By themselves, with task lists and all that came with them:
    =============================================================  =======  =======  =====  ========
    10 from a file, until all have asked / `claude --bg`             5.2 s    8.2 s   0.63   0.5  NO
    `new -f` of 50 tasks returns / one `new -q`                      1.2 s   187 ms   6.48        15
    =============================================================  =======  =======  =====  ========
    Of each of the ten starts the CLI itself takes 310 ms until its handshake, and they share two cores. The first of
    the two was 0.47 once, on a machine that was busy with other things.

    Another such run, an hour earlier: 1.64 where it says 1.74, 2.35, 0.85 and 2.57 for the other three that are not
    met.

    Landing, measured while nothing else ran:
    =============================================================  =======  =======  =====  ========
    `merge`, 1,000 files / `git merge --squash && git commit`       177 ms    14 ms   12.5     2  NO
    =============================================================  =======  =======  =====  ========
    Twice 14 ms is less than what a bare `python -c 'import click'` takes, 43 ms. `merge` of a session that isn't there
    takes 105 ms, and the rest is 24 calls of git of 2 to 4 ms each: 6 look where it lands and what it brings, 10 make
    the commit, with its trailers and the hook, and 8 move the branch and its checkout so that a kill between any two
    of them can be put right. git alone starts two.

What the four that are not met are made of
    - `new -q` and `send` take a lock, and with it filelock: 16 to 22 ms of CPU, of which `secrets`, which loads OpenSSL
      for the names of soft locks, and `logging` are most. Nothing of that is used here (`lock_descriptor` is one
      flock(2)), and its own `__lazy_modules__` will spare it from Python 3.15 on. Without it: 0.65, and 2.0 for `send`.
    - `new -q` waits for git three times, 5 to 8 ms each, and for three synced writes, 1 ms each.
    - `ls --json` of 1,000: 70 us a session, of which building the record is 21, reading and parsing it 17, JSON out 16,
      and the look at its worktree 10. It was 3.2 before.
    - `ls --json` to bare click: see below, by instructions.

    Without the daemon and the spare on the side of `claude --bg`, the ratio of memory would be 0.83, not met.
    With other jobs on both cores `new -q` to `claude --bg` is the first to suffer: it has the most short processes and
    synced writes in it.

Where the time goes, and what was tried
    - `new` to the first request, 507 ms on a quicker machine: `new` 67 (imports 45, git 20), the worker's interpreter
      and imports 66, checkout beside the SDK's import 61, CLI until its handshake 237, from the message to the request
      73. Nearly two thirds are the CLI's own. Of its start, 12 ms are `guard.py`; setpriv(1) would take 2 but can't see
      a parent that is dead already.
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
