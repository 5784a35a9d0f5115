"""Data as text for people: rows of `ls`, the transcript of `attach`, the page of `show`, what became of a session."""
