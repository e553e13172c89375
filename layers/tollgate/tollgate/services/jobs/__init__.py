"""What happens to a job between its acceptance and the moment its owner is notified of its end."""
