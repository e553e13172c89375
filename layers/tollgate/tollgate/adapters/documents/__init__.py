"""Objects of the domain as JSON documents, and back, as the tables keep them."""
