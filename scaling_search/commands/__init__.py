"""What each command does with an experiment, one file each."""
