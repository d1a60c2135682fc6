"""Counts what the operators of a built network multiply, and refuses those that it cannot count."""
