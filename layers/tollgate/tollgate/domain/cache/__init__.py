"""Kept answers: whose they are, what makes two requests equal, how long an answer is good."""
