"""Answers kept and given again, and one run at a time for those that are missing."""
