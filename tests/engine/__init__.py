"""Independent tests of the replica engine."""
