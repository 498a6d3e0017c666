"""Learning rates: schedules, factors by layer, and a search for a good one."""
