"""A SageMaker that runs on this machine: its wire format, its control plane, its queues, and real models behind it."""
