"""How far the gateway is slowed down, why, and by which steps."""
