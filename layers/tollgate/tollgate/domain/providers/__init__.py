"""Deployments that are paid by the token: what they may be sent, what a call costs at most and did cost."""
