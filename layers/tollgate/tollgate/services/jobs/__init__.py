"""What happens to a job after it was accepted, until it ended and its owner was told."""
