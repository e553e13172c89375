"""Puts endpoints to sleep, wakes them, and hands jobs on to other deployments."""
