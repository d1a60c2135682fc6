"""The choices of a search: their classes, composed from ``conf/`` and overrides, and trusted."""
