"""The detached process: one session's worktree, agent and log, for as long as there is work."""
