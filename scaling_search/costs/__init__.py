"""Measures of what a network costs, one file each."""
