"""Words, tables, figures and pages, in the terminal and in files."""
