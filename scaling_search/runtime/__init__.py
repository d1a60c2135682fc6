"""Files, locks, signals and processes of one machine."""
