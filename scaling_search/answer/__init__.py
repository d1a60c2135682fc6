"""From the results to an answer and how sure it is."""
