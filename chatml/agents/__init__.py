"""The agents that chatml can run: a protocol and its implementations."""
