"""Bringing changes home: what a session changed, whether it has landed, its pull request."""
