"""Working stand-ins for the ports, without network or disk. `tests/contract` holds them to the real adapters."""
