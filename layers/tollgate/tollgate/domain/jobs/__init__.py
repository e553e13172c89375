"""Requests that are answered later: their states, batches, files and webhooks."""
