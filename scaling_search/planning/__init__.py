"""From a base network and what it may cost to distinct candidates of equal cost."""
