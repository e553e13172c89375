"""Which size or variant of a model answers, from the prompt and from what became of earlier requests."""
