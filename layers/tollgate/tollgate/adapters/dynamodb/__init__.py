"""DynamoDB with plain Python values, and the ledger table. The three other tables have a package each."""
