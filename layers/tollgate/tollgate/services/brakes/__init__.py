"""The brakes at work: heard, done, undone, told."""
