"""Where a worker runs: on this machine, or wherever a row of the table leads."""
