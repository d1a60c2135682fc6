"""Scaled networks that were published: what they cost, and what rule they follow."""
