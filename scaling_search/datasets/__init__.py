"""Image data to train on, one file each."""
