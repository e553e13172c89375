"""How much of a conversation or of retrieved documents is sent on."""
