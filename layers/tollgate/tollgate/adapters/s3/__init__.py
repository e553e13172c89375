"""The bucket: directly, for functions that must start quickly, and through boto3."""
