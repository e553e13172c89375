"""The Registry table: the catalogue, keys and webhook secrets, prices, what is known about deployments and places."""
