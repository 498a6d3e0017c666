"""The best model for the time at hand: what is tried, in which order, and the leaderboard of it."""
