"""The cache table: kept answers, the index of near matches, idempotency keys, clients' own results."""
