"""What the services need from outside, as protocols with at least two real implementations each.

One module for each part of the outside, so that a function imports what it uses. The AWS implementations are in
`tollgate.adapters`, the ones for tests in `tests/fakes`; one contract suite runs against both.
"""
