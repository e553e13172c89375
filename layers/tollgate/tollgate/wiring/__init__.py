"""What the functions are made of, on AWS: the floor above all others, from which each function takes what it needs.

`parts` and `roads` are shared by nearly all functions. `inference` builds what runs requests, `gateway` the routes on
top of it, `kept_answers` the cache function, `submission` what submits jobs, `jobs` and `completion` what ends them,
`batches` the batch road, `places` sleep and wake, and `reconcile` the accounts. Every part is made when it is first
asked for, and nothing connects before the first call.
"""
