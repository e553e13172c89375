"""Prices, the cost of a request and what it avoided, and usage computed from them."""
