"""What every wing stands on: errors, files, locks, hashing, random numbers, statistics. It knows no model."""
