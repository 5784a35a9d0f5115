"""What a session would bring to its base: compared, held still, kept in scope."""
