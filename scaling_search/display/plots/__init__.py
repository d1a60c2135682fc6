"""Tables become matplotlib Figures; the one place that knows matplotlib."""
