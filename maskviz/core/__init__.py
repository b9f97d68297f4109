"""Values every room shares: numpy and the standard library only."""
