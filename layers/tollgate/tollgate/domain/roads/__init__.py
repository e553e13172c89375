"""Which road and which deployment a request takes, and what each would cost and last."""
