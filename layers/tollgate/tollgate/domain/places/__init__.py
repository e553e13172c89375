"""Endpoints that sleep and wake, whether a start is worth it, and whether instances fit their work."""
