"""One file per subcommand: its options, and a short function that runs it."""
