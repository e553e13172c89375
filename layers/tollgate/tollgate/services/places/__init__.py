"""Endpoints put to sleep and woken, and jobs handed on."""
