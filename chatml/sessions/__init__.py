"""The life of a session, a room for each of the user's verbs: create, find, control, answer, unsend, review, costs."""
