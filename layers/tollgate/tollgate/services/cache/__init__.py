"""Serves kept answers, and lets one request at a time run for an answer that is missing.

`answer_cache` goes the way of a request: `cached_run` has its key and what of its answer is kept, `reader` reads the
table behind the `breaker`, `turn` decides who runs and who waits. `near_answers` finds answers to the same question in
other words, `embedding_cache` keeps lists of texts one by one. In the cache function, `refresh_answers` makes stale
answers anew, `near_upkeep` files prompts and counts wrong matches, and `manage` does what callers ask of the cache.
"""
