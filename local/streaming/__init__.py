"""What the AWS emulator lacks for answers that are passed on while they are made."""
