"""What is sent to be read later: queues, events for other functions, notices to the owner, webhooks to clients."""
