"""Requests that are answered later: their states, what goes together, files, and who is told."""
