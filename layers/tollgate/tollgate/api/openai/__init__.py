"""OpenAI's API: request bodies, answers, event streams, and the routes that join them to the services."""
