"""Ways to find networks of the target's cost, one file each."""
