"""What people start: the Prefect flows, their recipes, and the command `s2s`."""
