"""An inference gateway in your own AWS account."""

import gc

# What is imported stays. By default Python looks through it for garbage ten times during the gateway's start, which
# takes 2 to 9 ms. Requests leave little garbage, so a few megabytes at most wait for the next look.
gc.set_threshold(20_000)
