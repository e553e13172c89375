"""How far the gateway is slowed down, why, and the steps of it."""
