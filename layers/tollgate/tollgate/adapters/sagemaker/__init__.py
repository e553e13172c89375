"""SageMaker: requests to its endpoints, transform jobs, and endpoints taken down and put back."""
