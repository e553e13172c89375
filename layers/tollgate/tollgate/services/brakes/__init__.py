"""Operates the spend brakes: receives signals, applies and undoes steps, notifies people."""
