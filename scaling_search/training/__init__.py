"""From a trial to its result: one network, one seed, one device; and what that takes."""
