"""Ways to run trainings, one file each."""
