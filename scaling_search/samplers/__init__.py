"""Rules that choose the next training, one file each."""
