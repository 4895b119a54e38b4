"""The base of all other packages: errors, files, locks, hashing, random numbers, statistics. Knows no model."""
