"""Prices, what a request cost and what it avoided, and usage made of that."""
