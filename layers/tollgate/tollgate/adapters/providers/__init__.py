"""Providers that are paid by the token: Amazon Bedrock, and whoever speaks OpenAI's language over HTTP."""
