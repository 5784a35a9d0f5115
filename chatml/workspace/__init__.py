"""A session's worktree."""
