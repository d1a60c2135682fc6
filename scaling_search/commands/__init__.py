"""The commands on a run, one file each."""
