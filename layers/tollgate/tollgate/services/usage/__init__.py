"""Usage rolled up, queried, exported and compared with the bill; prices refreshed."""
