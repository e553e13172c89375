"""Cached answers: who may share them, which requests count as equal, how long an answer is valid."""
