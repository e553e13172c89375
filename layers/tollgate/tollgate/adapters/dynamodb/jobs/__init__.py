"""The Jobs table: jobs, batch runs, files and batches, and what of them has ended."""
