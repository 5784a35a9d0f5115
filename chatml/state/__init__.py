"""Every file below `.git/chatml`: records, logs, inboxes and locks."""
