"""Token-priced deployments: what they may be sent, and what a call costs at most and did cost."""
