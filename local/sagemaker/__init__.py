"""A SageMaker that runs on this machine: its wire format, control plane and queues, and real models."""
