"""Families of networks to scale, one file each."""
