"""Transform jobs, and the files that come and go with them."""
