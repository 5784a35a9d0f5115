"""The agent that is built in: Claude Code, through its Agent SDK."""
