"""A scripted Messages API and a sample repository: the whole thing without a key or a network."""
