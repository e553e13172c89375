"""What texts are made into to be counted and compared: tokens, and vectors of words and sentences."""
