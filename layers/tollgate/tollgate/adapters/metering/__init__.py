"""What was used and what it costs: CloudWatch, Cost Explorer, AWS's prices, the log of requests, FOCUS files."""
