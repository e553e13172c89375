"""Learned and measured numbers that ship with the package, as files read on first use."""
