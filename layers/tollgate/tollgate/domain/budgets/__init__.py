"""Who may spend how much: limits, the ledger's counters, what is held for a request and what is left."""
