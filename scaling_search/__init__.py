"""Search for the coefficients that scale a network in depth, width and resolution at equal cost."""
