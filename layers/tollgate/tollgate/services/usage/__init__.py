"""Rolls usage up, answers queries, exports it, compares it with the bill and refreshes prices."""
