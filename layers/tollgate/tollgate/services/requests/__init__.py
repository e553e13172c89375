"""A request at the gateway, from key to answer or to accepted job."""
