"""The base of all other packages: errors, files, locks, hashing, random numbers, statistics. Knows no model.

Public: `errors.InputError`, `rng.derive`, `files.write_atomically`, `locks.hold`, `variation.difference`,
`statistics.holm`.
"""
