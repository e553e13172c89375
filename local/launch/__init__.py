"""Runs the whole of Tollgate on one machine: emulator, SageMaker stand-in, real template, front door."""
